// ReCoRD (Zhang et al. 2018): which entity of a news item is missing in a sentence about it? A query has
// candidates of its own, and often several right answers.

import type { Cells } from './cells.js'
import type { DataRow, NamedTask } from './named.js'
import { superGlue } from './superglue.js'

const placeholder = '@placeholder'

/** A training row for each right answer, as in t5/data/preprocessors.py, `record`. */
const oneAnAnswer = (row: DataRow): DataRow[] =>
  (row.answers ?? []).map((label) => ({ ...row, label }))

const entities = ({ choices = [] }: DataRow) =>
  choices.map((label) => ({ label, words: label }))

const t5 = {
  template: 'record query: {query} entities: {entities} passage: {passage}',
  words: {},
  candidates: entities,
  training: oneAnAnswer,
}

export const record: NamedTask = {
  name: 'record',
  labels: [],
  metric: 'answer-f1',
  fields: ['passage', 'query', 'entities', 'story', 'lead', 'rest'],
  ...superGlue('record', 'ReCoRD'),
  devFrom: 'train',
  formats: {
    // EleutherAI/lm-evaluation-harness, super_glue/record/util.py: the query as one highlight more; what
    // stands before the entity is text here, the entity and what follows it are the candidate
    gpt2: {
      template: '{story}  -{lead}',
      words: {},
      candidates: ({ choices = [], fields }) =>
        choices.map((label) => ({
          label,
          words:
            `${label}${(fields.rest as string).replaceAll(placeholder, label)}`.trim(),
        })),
      training: oneAnAnswer,
    },
    // DePT's code has T5's text
    dept: t5,
    t5,
  },
  rows: (cells) => (cells.has('qas') ? originalRows(cells) : [hubRow(cells)]),
}

function hubRow(cells: Cells): DataRow {
  const index = cells.object('idx')
  return row(cells, {
    passage: cells.text('passage'),
    query: cells.text('query'),
    entities: cells.texts('entities'),
    answers: cells.texts('answers'),
    group: `${index.integer('passage')}-${index.integer('query')}`,
  })
}

/** A line of the archive is a passage, its entities by their places, and all its queries. */
function originalRows(cells: Cells): DataRow[] {
  const passage = cells.object('passage')
  const text = passage.text('text')
  const characters = [...text] // places count code points, as Python's do
  const entities = passage.objects('entities').map((entity) => {
    const [start, end] = [entity.integer('start'), entity.integer('end')]
    if (start > end || end >= characters.length) {
      return entity.refuse(
        `The entity at ${start}..${end} lies outside the passage of ${characters.length} characters`,
      )
    }
    return characters.slice(start, end + 1).join('')
  })
  return cells.objects('qas').map((query) =>
    row(cells, {
      passage: text,
      query: query.text('query'),
      entities,
      answers: query.objects('answers').map((answer) => answer.text('text')),
      group: `${cells.integer('idx')}-${query.integer('idx')}`,
    }),
  )
}

function row(
  cells: Cells,
  given: {
    passage: string
    query: string
    entities: string[]
    answers: string[]
    group: string
  },
): DataRow {
  const { passage, query, group } = given
  const choices = [...new Set(given.entities)]
  const answers = [...new Set(given.answers)]
  const [label] = answers
  if (label === undefined) return cells.refuse('The query has no answers')
  const at = query.indexOf(placeholder)
  if (at < 0) return cells.refuse(`The query has no ${placeholder}`)
  const before = query.slice(0, at).trimEnd()
  const fields = {
    passage: joined(passage),
    query,
    entities: choices.join(', '),
    story: bulleted(passage),
    lead: before === '' ? '' : ` ${before}`,
    rest: query.slice(at + placeholder.length),
  }
  return { fields, label, answers, group, choices, source: cells.source }
}

// t5/data/preprocessors.py, `record`
function joined(passage: string): string {
  return passage
    .replace(/([.?!"'])\n@highlight\n/g, '$1 ')
    .replaceAll('\n@highlight\n', '. ')
}

// EleutherAI/lm-evaluation-harness, super_glue/record/util.py
function bulleted(passage: string): string {
  const [story, ...highlights] = passage.trim().split('\n@highlight\n')
  return `${story}\n\n${highlights.map((one) => `  - ${one}.\n`).join('')}`
}
