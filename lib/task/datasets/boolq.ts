// BoolQ (Clark et al. 2019): is the answer to a question about a passage yes?

import type { NamedTask } from './named.js'
import { falseTrue, noYes, numbered, superGlue } from './superglue.js'

export const boolq: NamedTask = {
  name: 'boolq',
  labels: falseTrue,
  metric: 'accuracy',
  fields: ['passage', 'question'],
  ...superGlue('boolq', 'BoolQ'),
  devFrom: 'halves',
  formats: {
    // GPT-3's (Brown et al. 2020), as EleutherAI/lm-evaluation-harness writes it down
    gpt2: { template: '{passage}\nQuestion: {question}?\nAnswer:', words: noYes },
    dept: {
      template: 'question: {question} passage: {passage}',
      words: numbered(falseTrue),
    },
    t5: { template: 'boolq passage: {passage} question: {question}', words: {} },
  },
  rows: (record) => [
    {
      fields: { passage: record.text('passage'), question: record.text('question') },
      label: record.label('label', falseTrue),
      source: record.source,
    },
  ],
}
