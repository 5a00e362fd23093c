// `lopt export`: what the library has, in files that other programs read. Parses, prints, and leaves
// the rest to the library.

import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import { exportBackbone, exportPeft, loadPrompt } from '../index.js'
import type { Context } from './interrupt.js'
import {
  backboneOptions,
  deviceOption,
  dtypeOption,
  otherBackboneOption,
  revisionOption,
  withBackbone,
} from './model-options.js'
import {
  addOptions,
  jsonOption,
  type OptionValues,
  optional,
  optionValues,
  text,
} from './options.js'

const options = {
  revision: revisionOption,
  device: deviceOption,
  dtype: dtypeOption,
  json: jsonOption,
}

const peftOptions = {
  ...backboneOptions,
  allowOtherBackbone: otherBackboneOption,
  baseModel: optional(
    '--base-model <name>',
    'folder or model id that PEFT notes as the base model',
    text,
    '--backbone, where transformers opens it',
  ),
  json: jsonOption,
}

const HELP = `
SOURCE is what --backbone takes elsewhere. The file holds module, config.json and tokenizer;
--backbone FILE.pt opens it, and so does Python's torch.jit.load. It has the fingerprint of SOURCE:
prompts of the one fit the other.

Example:
  npx lopt export backbone ./gpt2 gpt2.pt`

const PEFT_HELP = `
FOLDER is what Python's PeftModel.from_pretrained(model, FOLDER) opens, and \`lopt import peft\`. Exported
are prompts that are vectors before the text, as PROMPT_TUNING, and those of the method prefix, as
PREFIX_TUNING.

Example:
  npx lopt export peft runs/topics/prompt.lopt.safetensors topics-adapter --backbone ./gpt2`

export function addExport(program: Command, context: Context): void {
  const group = program
    .command('export')
    .description('Writes files that other programs read.')
    .showHelpAfterError('See `npx lopt export --help`.')
  const command = group
    .command('backbone')
    .argument('<source>', 'backbone')
    .argument('<file>', 'TorchScript file to write, .pt')
    .description('Writes a backbone as one TorchScript file.')
    .addHelpText('after', HELP)
  addOptions(command, options)
  command.action((source: string, file: string) =>
    run(source, file, optionValues(command, options), context),
  )
  const peft = group
    .command('peft')
    .argument('<prompt>', 'prompt file')
    .argument('<folder>', 'adapter folder to write')
    .description("Writes a prompt as an adapter folder of Python's PEFT.")
    .addHelpText('after', PEFT_HELP)
  addOptions(peft, peftOptions)
  peft.action((file: string, folder: string) =>
    runPeft(file, folder, optionValues(peft, peftOptions), context),
  )
}

async function runPeft(
  file: string,
  folder: string,
  values: OptionValues<typeof peftOptions>,
  context: Context,
): Promise<void> {
  await withBackbone(values, context, async (backbone) => {
    const { baseModel, allowOtherBackbone } = values
    const prompt = loadPrompt(file, backbone, { allowOtherBackbone })
    try {
      await exportPeft(folder, prompt, backbone, { baseModel })
      const { method, length, hiddenSize } = prompt.config
      const what =
        method === 'prefix' ? 'with keys and values a layer' : `of ${hiddenSize} numbers`
      context.output.event({ type: 'result', path: folder, method, length, hiddenSize })
      context.output.note(`${folder}: ${length} virtual tokens ${what}`)
    } finally {
      prompt.dispose()
    }
  })
}

async function run(
  source: string,
  file: string,
  values: OptionValues<typeof options>,
  context: Context,
): Promise<void> {
  await withBackbone({ ...values, backbone: source }, context, async (backbone) => {
    await exportBackbone(file, backbone)
    const { size } = await stat(file)
    const { fingerprint } = backbone
    const { output } = context
    output.event({ type: 'result', path: file, sizeBytes: size, fingerprint })
    output.note(`${file}: ${(size / 1e6).toFixed(1)} MB, ${backbone.dtype}`)
  })
}
