// `lopt score`: log-probabilities of the candidate labels for each row of a data file. Parses,
// prints, and leaves the rest to `score`.

import type { Command } from 'commander'
import { type Score, score, type TextFormat } from '../index.js'
import { completeVerbalizer, parseTemplate, type Row, readRows } from '../task/index.js'
import {
  backboneOptions,
  labelsAndWords,
  openBackbone,
  openPrompt,
  promptOptions,
} from './backbone-options.js'
import { UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import {
  addOptions,
  integer,
  jsonOption,
  list,
  type OptionValues,
  optional,
  optionValues,
  path,
  required,
  text,
  withDefault,
} from './options.js'
import { count, type Output, oneLine, percent } from './output.js'

const options = {
  ...backboneOptions,
  prompt: optional('--prompt <file>', 'prompt file', path, 'none: the text alone'),
  data: required(
    '--data <file>',
    'rows to score: .jsonl, .csv or .tsv; labels may be left out',
    path,
  ),
  template: optional(
    '--template <text>',
    "what the model reads, {field} being a row's value",
    text,
    "the prompt file's",
  ),
  labels: optional(
    '--labels <names>',
    'candidate labels with commas between them',
    list,
    "the prompt file's",
  ),
  batchSize: withDefault('--batch-size <n>', 'rows computed at once', integer(1), 16),
  ...promptOptions,
  json: jsonOption,
}

const HELP = `
A score is the sum of the log-probabilities (nats) of the label's tokens; the prediction is the label
with the highest. With --json a line a row: {"row": 0, "scores": {"good": -0.2, …}, "prediction": "good"}

Examples:
  npx lopt score --backbone ./gpt2 --prompt runs/reviews/prompt.lopt.safetensors --data new.jsonl
  npx lopt score --backbone ./gpt2 --template '{text} It was' --labels good,bad --data new.csv --json`

// Rows that are read and scored before the next: they keep memory flat and batches of like length.
const ROWS_AT_ONCE = 256

export function addScore(program: Command, context: Context): void {
  const command = program
    .command('score')
    .description('Log-probability of each candidate label for each row.')
    .showHelpAfterError('See `npx lopt score --help`.')
    .addHelpText('after', HELP)
  addOptions(command, options)
  command.action(() => run(optionValues(command, options), context))
}

async function run(
  values: OptionValues<typeof options>,
  { output, signal }: Context,
): Promise<void> {
  const backbone = await openBackbone(values)
  try {
    const prompt = openPrompt(values.prompt, backbone, values)
    const task = formatOf(
      values,
      labelsAndWords(values.labels, prompt),
      prompt?.task?.template,
    )
    const { fields } = parseTemplate(task.template)
    const report = createReport(output, task.labels)
    for await (const rows of chunks(
      readRows(values.data, { fields, label: 'optional' }),
    )) {
      const texts = rows.map((row) => row.fields)
      const { batchSize } = values
      const scores = await score({ backbone, prompt, task, texts, batchSize, signal })
      rows.forEach((row, i) => {
        report.row(row, scores[i] as Score)
      })
    }
    report.end()
    prompt?.dispose()
  } finally {
    backbone.dispose()
  }
}

function formatOf(
  values: OptionValues<typeof options>,
  { labels, verbalizer }: ReturnType<typeof labelsAndWords>,
  storedTemplate: string | undefined,
): TextFormat {
  const template = values.template ?? storedTemplate
  if (template === undefined || labels === undefined) {
    const missing = template === undefined ? '--template' : '--labels'
    const why =
      values.prompt === undefined ? 'Without --prompt' : 'The prompt file names none, so'
    throw new UsageError(`${why} give ${missing}`)
  }
  return { template, labels, verbalizer: completeVerbalizer(labels, verbalizer) }
}

async function* chunks(rows: AsyncIterable<Row>): AsyncGenerator<Row[]> {
  let chunk: Row[] = []
  for await (const row of rows) {
    chunk.push(row)
    if (chunk.length < ROWS_AT_ONCE) continue
    yield chunk
    chunk = []
  }
  if (chunk.length > 0) yield chunk
}

/** Prints rows as they come, and what can be said of all of them at the end. */
function createReport(output: Output, labels: readonly string[]) {
  const widths = labels.map((label) => Math.max(label.length, 8))
  const longest = Math.max('prediction'.length, ...labels.map((label) => label.length))
  const line = (
    row: string,
    prediction: string,
    scores: readonly string[],
    rest: string,
  ) => {
    const figures = scores.map((figure, i) => figure.padStart(widths[i] ?? 0))
    return [row.padStart(6), prediction.padEnd(longest), ...figures, rest]
      .join('  ')
      .trimEnd()
  }
  let index = 0
  let truncated = 0
  let labelled = 0
  let right = 0
  if (!output.json) output.print(line('row', 'prediction', labels, 'text'))
  return {
    row({ fields, label }: Row, { scores, prediction, truncated: cut }: Score) {
      const row = index++
      if (cut > 0) truncated += 1
      if (label !== undefined) labelled += 1
      if (label === prediction) right += 1
      output.event({ row, scores, prediction })
      if (output.json) return
      const figures = labels.map((name) => (scores[name] ?? Number.NaN).toFixed(4))
      const shown = oneLine(Object.values(fields).join(' | '), 60)
      output.print(line(String(row), prediction, figures, shown))
    },
    end() {
      if (truncated > 0)
        output.note(`${count(truncated)} of ${count(index)} rows were cut to fit`)
      if (labelled > 0) {
        output.note(
          `${percent(right / labelled)} of ${count(labelled)} labelled rows are right`,
        )
      }
    },
  }
}
