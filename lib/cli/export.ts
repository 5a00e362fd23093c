// `lopt export`: what the library has, in files that other programs read. Parses, prints, and leaves
// the rest to the library.

import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import { exportBackbone } from '../index.js'
import type { Context } from './interrupt.js'
import {
  deviceOption,
  dtypeOption,
  revisionOption,
  withBackbone,
} from './model-options.js'
import { addOptions, jsonOption, type OptionValues, optionValues } from './options.js'

const options = {
  revision: revisionOption,
  device: deviceOption,
  dtype: dtypeOption,
  json: jsonOption,
}

const HELP = `
SOURCE is what --backbone takes elsewhere. The file holds module, config.json and tokenizer;
--backbone FILE.pt opens it, and so does Python's torch.jit.load. It has the fingerprint of SOURCE:
prompts of the one fit the other.

Example:
  npx lopt export backbone ./gpt2 gpt2.pt`

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
