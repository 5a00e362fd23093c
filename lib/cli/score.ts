// `lopt score`: log-probabilities of the candidate labels for each row of a data file. Parses,
// prints, and leaves the rest to `score`.

import type { Command } from 'commander'
import { type Prompt, type Score, score, type TextFormat } from '../index.js'
import { completeVerbalizer, parseTemplate, type Row, readRows } from '../task/index.js'
import { asked, UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import {
  backboneOptions,
  batchOptions,
  checkFormat,
  labelsAndWords,
  labelsOption,
  promptOptions,
  templateOption,
  withModel,
} from './model-options.js'
import {
  addCommand,
  jsonOption,
  type OptionValues,
  optionValues,
  path,
  required,
} from './options.js'
import { count, type Output, oneLine, percent } from './output.js'

const options = {
  ...backboneOptions,
  ...promptOptions,
  data: required(
    '--data <file>',
    'rows to score: .jsonl, .csv or .tsv; labels may be left out',
    path,
  ),
  template: templateOption("the prompt file's"),
  labels: labelsOption("the prompt file's"),
  ...batchOptions,
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
  const command = addCommand(program, 'score', {
    description: 'Log-probability of each candidate label for each row.',
    help: HELP,
    options: { 'Options:': options },
  })
  command.action(() => run(optionValues(command, options), context))
}

async function run(
  values: OptionValues<typeof options>,
  context: Context,
): Promise<void> {
  const { output, signal } = context
  const { data, batchSize, fastPaths } = values
  await withModel(values, context, async (backbone, prompt) => {
    const task = await asked(() => formatOf(values, prompt))
    await checkFormat(backbone, prompt, task)
    const { fields } = parseTemplate(task.template)
    const report = createReport(output, task.labels)
    for await (const rows of chunks(readRows(data, { fields, label: 'optional' }))) {
      const scores = await score({
        backbone,
        prompt,
        task,
        texts: rows.map((row) => row.fields),
        sources: rows.map(({ line }) => ({ file: data, line })),
        batchSize,
        fastPaths,
        signal,
      })
      rows.forEach((row, i) => {
        report.row(row, scores[i] as Score)
      })
    }
    report.end()
  })
}

function formatOf(
  values: OptionValues<typeof options>,
  prompt: Prompt | null,
): TextFormat {
  const { labels, verbalizer } = labelsAndWords(values.labels, prompt)
  const template = values.template ?? prompt?.task?.template
  if (template === undefined || labels === undefined) {
    const missing = template === undefined ? '--template' : '--labels'
    const why =
      values.prompt === undefined ? 'Without --prompt' : 'The prompt file names none, so'
    throw new UsageError(`${why} give ${missing}`)
  }
  parseTemplate(template) // refused here, where it is the user's
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
