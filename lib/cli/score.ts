// `lopt score`: log-probabilities of the candidate labels for each row of a data file, or for texts.
// Parses, prints, and leaves the rest to `score`.

import type { Command } from 'commander'
import {
  type Example,
  type Prompt,
  type Score,
  type SplitName,
  score,
  type Task,
  type TextFormat,
} from '../index.js'
import {
  completeVerbalizer,
  parseTemplate,
  readRows,
  type StreamFormat,
} from '../task/index.js'
import { asked, UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import {
  backboneOptions,
  batchOptions,
  checkFormat,
  dataOptions,
  graphsOf,
  labelsAndWords,
  labelsOption,
  openTask,
  promptOptions,
  taskSource,
  templateOption,
  withModel,
} from './model-options.js'
import {
  addCommand,
  anyText,
  choice,
  jsonOption,
  type OptionValues,
  optional,
  optionValues,
  path,
  repeated,
} from './options.js'
import { count, type Output, oneLine, percent } from './output.js'
import {
  checkFormatOption,
  formatOption,
  readInputRows,
  readText,
  STDIN,
  STDIN_NAME,
} from './standard-input.js'

const options = {
  ...backboneOptions,
  ...promptOptions,
  ...dataOptions,
  data: optional(
    '--data <file>',
    'rows to score: .jsonl, .csv, .tsv or .parquet, or - for standard input; labels may be left out',
    path,
  ),
  format: formatOption,
  text: repeated(
    '--text <text>',
    'a text to score, for a template of one field, or - for standard input; may be repeated',
    anyText,
  ),
  split: optional(
    '--split <name>',
    'of --task: train, dev or test',
    choice(['train', 'dev', 'test']),
    'test',
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
  npx lopt score --backbone ./gpt2 --template '{text} It was' --labels good,bad --data new.csv --json
  npx lopt score --backbone ./gpt2 --prompt runs/reviews/prompt.lopt.safetensors --text 'A delight.'
  tail -n 100 new.jsonl | npx lopt score --backbone ./gpt2 --prompt runs/reviews/prompt.lopt.safetensors --data -`

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
  const { batchSize, fastPaths } = values
  const { source, named } = taskSource(values)
  checkFormatOption(values.format, values.data)
  await asked(() => checkTexts(values))
  if (!named && values.split !== undefined) {
    const given = values.text === undefined ? '--data' : '--text'
    throw new UsageError(`--split has no meaning with ${given}: all rows count`)
  }
  await withModel(values, context, async (backbone, prompt) => {
    const model = { backbone, trained: prompt }
    const task = named ? await openTask(source, model, values, context) : undefined
    const format = task ?? (await asked(() => formatOf(values, prompt)))
    await checkFormat(backbone, prompt, format)
    const rows = task
      ? rowsOf(task, values.split ?? 'test')
      : values.text
        ? rowsOfTexts(values.text, fieldOfTexts(format.template), context)
        : rowsOfData(source, format, values.format, context)
    const report = createReport(output, task ? ownLabels(task) : format.labels)
    for await (const some of chunks(rows)) {
      const scores = await score({
        ...{ backbone, prompt, task: format, batchSize, fastPaths, signal },
        ...graphsOf(values),
        texts: some.map(({ fields }) => fields),
        candidates: some.map(({ candidates }) => candidates),
        sources: some.map(({ source }) => source),
      })
      some.forEach((row, i) => {
        report.row(row, scores[i] as Score)
      })
    }
    report.end()
  })
}

interface ScoredRow {
  readonly fields: Example['fields']
  readonly answers: readonly string[]
  readonly candidates?: Example['candidates'] | undefined
  readonly source: NonNullable<Example['source']>
}

async function* rowsOfData(
  source: string,
  { template }: TextFormat,
  streamFormat: StreamFormat | undefined,
  context: Context,
): AsyncGenerator<ScoredRow> {
  const { fields } = parseTemplate(template)
  const wanted = { fields, label: 'optional' } as const
  const isInput = source === STDIN
  const rows = isInput
    ? readInputRows(context, streamFormat, wanted)
    : readRows(source, wanted)
  const file = isInput ? STDIN_NAME : source
  for await (const row of rows) {
    const answers = row.label === undefined ? [] : [row.label]
    yield { fields: row.fields, answers, source: { file, line: row.line } }
  }
}

/** What is wrong with texts before a model is opened. */
function checkTexts({ text: texts, template }: OptionValues<typeof options>): void {
  if (texts === undefined) return
  if (texts.indexOf(STDIN) !== texts.lastIndexOf(STDIN)) {
    throw new UsageError(`--text ${STDIN} reads all of standard input: give it once`)
  }
  if (template !== undefined) fieldOfTexts(template)
}

function fieldOfTexts(template: string): string {
  const [field = '', ...others] = parseTemplate(template).fields
  if (others.length === 0) return field
  throw new UsageError(
    `--text is for a template of one field, but "${template}" has ${others.length + 1}; ` +
      'use --data',
  )
}

async function* rowsOfTexts(
  texts: readonly string[],
  field: string,
  context: Context,
): AsyncGenerator<ScoredRow> {
  for (const [i, given] of texts.entries()) {
    const text = given === STDIN ? await readText(context) : given
    yield {
      fields: { [field]: text },
      answers: [],
      source: { file: '--text', line: i + 1 },
    }
  }
}

async function* rowsOf(task: Task, split: SplitName): AsyncGenerator<ScoredRow> {
  for (const [i, example] of task[split].entries()) {
    const { fields, label, answers = [label], candidates } = example
    const source = example.source ?? { file: `${task.name} ${split}`, line: i + 1 }
    yield { fields, answers, candidates, source }
  }
}

/** The columns of scores: none where rows have candidates of their own. */
function ownLabels({ labels, train, dev, test }: Task): readonly string[] {
  const own = [train, dev, test].some(([first]) => first?.candidates !== undefined)
  return own ? [] : labels
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

async function* chunks(rows: AsyncIterable<ScoredRow>): AsyncGenerator<ScoredRow[]> {
  let chunk: ScoredRow[] = []
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
  const widths = [...labels, 'score'].map((label) => Math.max(label.length, 8))
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
  const columns = labels.length > 0 ? labels : ['score']
  if (!output.json) output.print(line('row', 'prediction', columns, 'text'))
  return {
    row({ fields, answers }: ScoredRow, { scores, prediction, truncated: cut }: Score) {
      const row = index++
      if (cut > 0) truncated += 1
      if (answers.length > 0) labelled += 1
      if (answers.includes(prediction)) right += 1
      output.event({ row, scores, prediction })
      if (output.json) return
      const values =
        labels.length > 0
          ? labels.map((name) => scores[name] ?? Number.NaN)
          : [Math.max(...Object.values(scores))]
      const figures = values.map((value) => value.toFixed(4))
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
