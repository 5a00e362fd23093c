// MultiRC (Khashabi et al. 2018): is an answer to a question about a paragraph right? A question's
// answers are a group.

import type { Cells } from './cells.js'
import type { DataRow, NamedTask } from './named.js'
import { falseTrue, noYes, numbered, superGlue } from './superglue.js'

export const multirc: NamedTask = {
  name: 'multirc',
  labels: falseTrue,
  metric: 'f1a',
  fields: ['paragraph', 'question', 'answer'],
  ...superGlue('multirc', 'MultiRC'),
  devFrom: 'halves',
  formats: {
    // GPT-3's, as EleutherAI/lm-evaluation-harness writes it down
    gpt2: {
      template:
        '{paragraph}\nQuestion: {question}\nAnswer: {answer}\nIs the answer correct?',
      words: noYes,
    },
    dept: {
      template: 'question: {question} answer: {answer} paragraph: {paragraph}',
      words: numbered(falseTrue),
    },
    t5: {
      template: 'multirc question: {question} answer: {answer} paragraph: {paragraph}',
      words: {},
    },
  },
  rows: (record) => (record.has('passage') ? originalRows(record) : [hubRow(record)]),
}

function hubRow(record: Cells): DataRow {
  const index = record.object('idx')
  return row(record, {
    paragraph: record.text('paragraph'),
    question: record.text('question'),
    answer: record.text('answer'),
    label: record.label('label', falseTrue),
    group: `${index.integer('paragraph')}-${index.integer('question')}`,
  })
}

/** A line of the archive is a paragraph with all its questions. */
function originalRows(record: Cells): DataRow[] {
  const passage = record.object('passage')
  const paragraph = passage.text('text')
  return passage.objects('questions').flatMap((question) =>
    question.objects('answers').map((answer) =>
      row(record, {
        paragraph,
        question: question.text('question'),
        answer: answer.text('text'),
        label: answer.label('label', falseTrue),
        group: `${record.integer('idx')}-${question.integer('idx')}`,
      }),
    ),
  )
}

function row(
  { source }: Cells,
  {
    label,
    group,
    ...texts
  }: Record<'paragraph' | 'question' | 'answer' | 'label' | 'group', string>,
): DataRow {
  const fields = Object.entries(texts).map(([name, text]) => [name, withoutMarkup(text)])
  return { fields: Object.fromEntries(fields), label, group, source }
}

// t5/data/preprocessors.py, `glue`
function withoutMarkup(text: string): string {
  return text.replaceAll('<br>', ' ').replace(/<\/?b>/g, '')
}
