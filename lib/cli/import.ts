// `lopt import`: what other programs wrote, as the library's own files. Parses, prints, and leaves the
// rest to the library.

import type { Command } from 'commander'
import { importPeft, savePrompt } from '../index.js'
import { asked, UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import { backboneOptions, otherBackboneOption, withBackbone } from './model-options.js'
import {
  addOptions,
  choice,
  integer,
  jsonOption,
  type OptionValues,
  optional,
  optionValues,
} from './options.js'
import { count } from './output.js'

const options = {
  ...backboneOptions,
  allowOtherBackbone: otherBackboneOption,
  method: optional(
    '--method <name>',
    'full: the vectors as they are; lopt-1: the nearest of --rank; prefix: keys and values',
    choice(['full', 'lopt-1', 'prefix']),
    'full, or prefix where the adapter is one',
  ),
  rank: optional('--rank <n>', 'rank, for lopt-1', integer(1), '4'),
  json: jsonOption,
}

const HELP = `
FOLDER is what PEFT's save_pretrained or \`lopt export peft\` wrote: adapter_config.json of the type
PROMPT_TUNING, P_TUNING or PREFIX_TUNING, and adapter_model.safetensors.

Example:
  npx lopt import peft ./my-adapter mine.lopt.safetensors --backbone ./gpt2`

export function addImport(program: Command, context: Context): void {
  const group = program
    .command('import')
    .description('Reads files that other programs wrote.')
    .showHelpAfterError('See `npx lopt import --help`.')
  const command = group
    .command('peft')
    .argument('<folder>', 'adapter folder')
    .argument('<prompt>', 'prompt file to write, .lopt.safetensors')
    .description("Writes an adapter of Python's PEFT as a prompt file.")
    .addHelpText('after', HELP)
  addOptions(command, options)
  command.action((folder: string, file: string) =>
    run(folder, file, optionValues(command, options), context),
  )
}

async function run(
  folder: string,
  file: string,
  values: OptionValues<typeof options>,
  context: Context,
): Promise<void> {
  const { method, rank, allowOtherBackbone } = values
  if (method !== 'lopt-1' && rank !== undefined) {
    throw new UsageError(`--rank has no meaning with --method ${method ?? 'full'}`)
  }
  await withBackbone(values, context, async (backbone) => {
    const taken = { method, ...(rank !== undefined && { rank }), allowOtherBackbone }
    const prompt = await asked(() => importPeft(folder, backbone, taken))
    try {
      await savePrompt(file, prompt)
      const { method, length, hiddenSize } = prompt.config
      const { trainableParameters: parameters } = prompt
      const { output } = context
      output.event({ type: 'result', path: file, method, length, hiddenSize, parameters })
      output.note(
        `${file}: ${method}, ${length} virtual tokens, ${count(parameters)} numbers`,
      )
    } finally {
      prompt.dispose()
    }
  })
}
