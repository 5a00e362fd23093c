// `lopt generate`: continues a text, or many together. Parses, prints, and leaves the rest to `generate`.

import type { Command } from 'commander'
import { type GenerateManyOptions, type GenerateOptions, generate } from '../index.js'
import { asked, askedEvents, UsageError } from './failure.js'
import { continueRows, rowsOf } from './generate-rows.js'
import type { Context } from './interrupt.js'
import {
  backboneOptions,
  graphsOf,
  graphsOption,
  promptOptions,
  templateOption,
  withModel,
} from './model-options.js'
import {
  addCommand,
  anyText,
  integer,
  jsonOption,
  notNegative,
  number,
  type OptionValues,
  optional,
  optionValues,
  path,
  positive,
  repeated,
  withDefault,
} from './options.js'
import { readText, STDIN } from './standard-input.js'

const options = {
  ...backboneOptions,
  ...promptOptions,
  text: repeated(
    '--text <text>',
    'what is continued, as it is; -: standard input (the default); repeated: many together',
    anyText,
  ),
  data: optional(
    '--data <file>',
    "rows whose fields are filled into the prompt's template: .jsonl, .csv, .tsv or .parquet",
    path,
  ),
  template: templateOption("the prompt file's; {text} without one"),
  batchSize: withDefault('--batch-size <n>', 'texts continued at once', integer(1), 16),
  out: optional(
    '--out <file>',
    'JSON Lines to write, a line a row of --data; rows that are there are not made again',
    path,
    'standard output',
  ),
  maxNewTokens: withDefault('--max-new-tokens <n>', 'tokens at most', integer(1), 64),
  minNewTokens: withDefault(
    '--min-new-tokens <n>',
    'tokens before the text may end',
    integer(0),
    0,
  ),
  temperature: withDefault(
    '--temperature <x>',
    '0: the likeliest token each time; above: sampling',
    notNegative,
    0,
  ),
  topK: withDefault(
    '--top-k <n>',
    'sample among the k likeliest tokens; 0: all',
    integer(0),
    0,
  ),
  topP: withDefault(
    '--top-p <x>',
    'sample among the likeliest tokens that together have this probability',
    number('above 0, at most 1', (value) => value > 0 && value <= 1),
    1,
  ),
  repetitionPenalty: withDefault(
    '--repetition-penalty <x>',
    'above 1, tokens seen before get less likely',
    positive,
    1,
  ),
  numBeams: withDefault(
    '--num-beams <n>',
    'beams of a beam search, which looks for the likeliest text; 1: none',
    integer(1),
    1,
  ),
  lengthPenalty: withDefault(
    '--length-penalty <x>',
    "power of the length that a beam's score is divided by; above 0, longer texts are preferred",
    number('a number', Number.isFinite),
    1,
  ),
  stop: repeated('--stop <string>', 'ends the text before it; may be repeated', anyText),
  logProbabilities: optional(
    '--log-probabilities <n>',
    "tells each token's log-probability, and those of the n likeliest; for --json",
    integer(0),
  ),
  seed: withDefault('--seed <n>', 'of the sampling', integer(0), 0),
  graphs: graphsOption,
  json: jsonOption,
}

const HELP = `
The template of a prompt file is applied to the rows of --data alone: give --text as the model is to
read it. Without --max-new-tokens a text of --data ends with its end token or after 64. A line break
at the end of standard input is dropped. With --json a line a token, and at the end
{"type": "done", "text": …, "tokens": […], "finishReason": "stop" | "length" | "positions"}
with "row" where there are several. A row of --data is a line {"row": 0, …its fields, "generated": …}.

Examples:
  npx lopt generate --backbone builtin:nano-gpt2 --text 'A large animal that'
  npx lopt generate --backbone ./gpt2 --prompt runs/news/prompt.lopt.safetensors \\
    --data articles.jsonl --out summaries.jsonl
  echo 'Once upon a time' | npx lopt generate --backbone ./gpt2 --temperature 0.8 --top-p 0.95`

export function addGenerate(program: Command, context: Context): void {
  const command = addCommand(program, 'generate', {
    description: 'Continues a text, or many together, with or without a prompt.',
    help: HELP,
    options: { 'Options:': options },
  })
  command.action(() => run(optionValues(command, options), context))
}

async function run(values: Values, context: Context): Promise<void> {
  const { data, text: given = [] } = values
  const texts = data === undefined ? await textsOf(given, context) : []
  checkMeaning(values, given)
  await withModel(values, context, async (backbone, prompt) => {
    const options = { backbone, prompt, ...settingsOf(values) }
    if (data !== undefined) {
      const template = values.template ?? prompt?.task?.template ?? '{text}'
      const rows = await asked(() => rowsOf(data, template))
      const { batchSize, out } = values
      await continueRows(rows, { ...options, template, batchSize }, out, context)
    } else if (texts.length > 1) {
      await continueTexts(texts, { ...options, batchSize: values.batchSize }, context)
    } else {
      const { numBeams, lengthPenalty } = values
      const beams = { numBeams, lengthPenalty, text: texts[0] as string }
      await continueOne({ ...options, ...beams }, context)
    }
  })
}

type Values = OptionValues<typeof options>

/** An option that would change nothing is a misunderstanding. */
function checkMeaning(values: Values, texts: readonly string[]): void {
  const { data, out, template, numBeams } = values
  if (data !== undefined && texts.length > 0) {
    throw new UsageError('Give either --text or --data, not both')
  }
  if (data === undefined && (out ?? template) !== undefined) {
    const name = out === undefined ? '--template' : '--out'
    throw new UsageError(`${name} is for the rows of --data`)
  }
  if (numBeams > 1 && (data !== undefined || texts.length > 1)) {
    throw new UsageError('--num-beams is for one text')
  }
}

function settingsOf(values: Values) {
  return {
    maxNewTokens: values.maxNewTokens,
    minNewTokens: values.minNewTokens,
    temperature: values.temperature,
    topK: values.topK,
    topP: values.topP,
    repetitionPenalty: values.repetitionPenalty,
    ...(values.stop && { stop: values.stop }),
    ...(values.logProbabilities !== undefined && {
      logProbabilities: values.logProbabilities,
    }),
    seed: values.seed,
    ...graphsOf(values),
  }
}

/** As it grows. */
async function continueOne(
  options: Omit<GenerateOptions, 'signal'>,
  { output, signal }: Context,
): Promise<void> {
  const events = generate({ ...options, signal })
  for await (const event of askedEvents(events)) {
    output.event({ ...event })
    output.stream(event.type === 'token' ? event.text : '\n')
  }
}

/** Each when it ends. */
async function continueTexts(
  texts: readonly string[],
  options: Omit<GenerateManyOptions, 'signal' | 'rows'>,
  { output, signal }: Context,
): Promise<void> {
  const rows = texts.map((text) => ({ text }))
  for await (const event of askedEvents(generate({ ...options, rows, signal }))) {
    if (event.type === 'failed') throw event.error
    output.event({ ...event })
    if (event.type === 'done') output.print(`${texts[event.row]}${event.text}\n`)
  }
}

async function textsOf(given: readonly string[], context: Context): Promise<string[]> {
  if (given.length === 0) return [await readText(context)]
  const texts: string[] = []
  for (const text of given) {
    texts.push(text === STDIN ? await readText(context) : text)
  }
  return texts
}
