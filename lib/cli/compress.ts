// `lopt compress`: what a trained prompt keeps of what it learned at lower ranks. Parses, prints, and
// leaves the rest to `compressPrompt` and `evaluate`.

import { join } from 'node:path'
import type { Command } from 'commander'
import { z } from 'zod'
import { makeFolder } from '../atomic-file.js'
import {
  type Backbone,
  compressionError,
  compressPrompt,
  evaluate,
  loadPrompt,
  type Prompt,
  type SplitName,
  savePrompt,
  type Task,
} from '../index.js'
import { FIGURE_OF, type Figures, figuresOf } from '../run/index.js'
import { UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import {
  backboneOptions,
  batchOptions,
  checkFormat,
  dataOptions,
  graphsOf,
  labelsOption,
  openTask,
  otherBackboneOption,
  taskSource,
  templateOption,
  withBackbone,
} from './model-options.js'
import {
  addOptions,
  jsonOption,
  type OptionValues,
  optional,
  optionValues,
  path,
  required,
} from './options.js'
import { count, figureCells, figureNames, table } from './output.js'

const DEFAULT_RANKS = [1, 2, 4, 8]

const ranks = z
  .string()
  .regex(/^\d{1,6}(,\d{1,6})*$/, 'Expected integers with commas between them.')
  .transform((text) => [...new Set(text.split(',').map(Number))])

const options = {
  ...backboneOptions,
  allowOtherBackbone: otherBackboneOption,
  ...dataOptions,
  template: templateOption("the prompt file's"),
  labels: labelsOption("the prompt file's"),
  ranks: optional(
    '--ranks <list>',
    'ranks with commas between them',
    ranks,
    `those of ${DEFAULT_RANKS.join(',')} that the prompt can have`,
  ),
  out: required('--out <dir>', 'folder for the prompt files, a rank each', path),
  ...batchOptions,
  json: jsonOption,
}

const HELP = `
Writes DIR/rank-R.lopt.safetensors for each rank: the LoPT-1 prompt nearest to PROMPT's vectors. A bundled
task is evaluated on its dev and test rows, a data file on all of its rows: by the task's own figure, which is perplexity
where texts answer rows.

Example:
  npx lopt compress runs/full/prompt.lopt.safetensors --backbone builtin:nano-gpt2 --task topics \\
    --ranks 1,2,4,8 --out runs/compressed`

export function addCompress(program: Command, context: Context): void {
  const command = program
    .command('compress')
    .argument('<prompt>', 'prompt file')
    .description(
      'Brings a trained prompt to lower ranks, with the accuracy or perplexity at each.',
    )
    .showHelpAfterError('See `npx lopt compress --help`.')
    .addHelpText('after', HELP)
  addOptions(command, options)
  command.action((file: string) => run(file, optionValues(command, options), context))
}

async function run(
  file: string,
  values: OptionValues<typeof options>,
  context: Context,
): Promise<void> {
  const { source, named } = taskSource(values)
  await withBackbone(values, context, async (backbone) => {
    const { allowOtherBackbone } = values
    const prompt = loadPrompt(file, backbone, { allowOtherBackbone })
    try {
      const rows = named ? {} : { testData: source, devFraction: 0 }
      const task = await openTask(
        source,
        { backbone, trained: prompt },
        values,
        context,
        rows,
      )
      await checkFormat(backbone, prompt, task)
      const wanted = ranksOf(prompt, values.ranks)
      const splits: SplitName[] = named ? ['dev', 'test'] : ['test']
      await compress({ backbone, prompt, task, splits, ranks: wanted }, values, context)
    } finally {
      prompt.dispose()
    }
  })
}

async function compress(
  work: {
    backbone: Backbone
    prompt: Prompt
    task: Task
    splits: readonly SplitName[]
    ranks: readonly number[]
  },
  values: OptionValues<typeof options>,
  { output, signal }: Context,
): Promise<void> {
  const { backbone, prompt: original, task, splits } = work
  const { out, data, batchSize, fastPaths } = values
  const figure = FIGURE_OF[task.metric]
  const [name] = figureNames({ [figure]: 0 })
  const rows = [
    [
      'rank',
      'method',
      'parameters',
      'relative error',
      ...splits.map((split) => (data === undefined ? `${split} ${name}` : `${name}`)),
    ],
  ]
  const add = async (
    prompt: Prompt,
    found: { rank: number | null; path?: string; relativeError: number },
  ) => {
    const figures: Partial<Record<SplitName, Figures>> = {}
    for (const split of splits) {
      const how = { batchSize, fastPaths, ...graphsOf(values), signal }
      const given = { backbone, prompt, task, split, ...how }
      // A perplexity needs no generated text.
      const generation = figure === 'perplexity' ? false : undefined
      figures[split] = figuresOf(await evaluate({ ...given, generation }))
    }
    const { trainableParameters: parameters } = prompt
    const { method } = prompt.config
    output.event({ type: 'rank', ...found, method, parameters, figures })
    rows.push([
      found.rank?.toString() ?? '',
      method,
      count(parameters),
      found.relativeError.toFixed(4),
      ...splits.flatMap((split) => figureCells({ [figure]: figures[split]?.[figure] })),
    ])
  }
  // Files first: evaluation takes the time, and is not what they need.
  const files = work.ranks.map((rank) => ({
    rank,
    path: join(out, `rank-${rank}.lopt.safetensors`),
    compressed: compressPrompt(original, { rank }),
  }))
  try {
    await makeFolder(out)
    for (const { path, compressed } of files) await savePrompt(path, compressed)
    await add(original, { rank: null, relativeError: 0 })
    for (const { rank, path, compressed } of files) {
      const relativeError = compressionError(original, compressed)
      await add(compressed, { rank, path, relativeError })
    }
  } finally {
    for (const { compressed } of files) compressed.dispose()
  }
  output.print(table(rows, [0, 2, 3, 4, 5]))
}

/** The ranks asked for, or the usual ones that the prompt can have. */
function ranksOf(
  prompt: Prompt,
  given: readonly number[] | undefined,
): readonly number[] {
  const most = Math.min(prompt.config.length, prompt.config.hiddenSize)
  if (given === undefined) return DEFAULT_RANKS.filter((rank) => rank <= most)
  const wrong = given.find((rank) => rank < 1 || rank > most)
  if (wrong === undefined) return given
  throw new UsageError(`Expected --ranks in 1..${most} but received ${wrong}`)
}
