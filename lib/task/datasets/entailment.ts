// CB (de Marneffe et al. 2019) and RTE (Dagan et al. 2006): does a premise entail a hypothesis?

import type { NamedTask } from './named.js'
import { numbered, superGlue } from './superglue.js'

type Rows = NamedTask['rows']

const fields = ['premise', 'hypothesis']
const rowsOf =
  (labels: readonly string[]): Rows =>
  (record) => [
    {
      fields: { premise: record.text('premise'), hypothesis: record.text('hypothesis') },
      label: record.label('label', labels),
      source: record.source,
    },
  ]

const cbLabels = ['entailment', 'contradiction', 'neutral']
const rteLabels = ['entailment', 'not_entailment']
const dept = 'premise: {premise} hypothesis: {hypothesis}'

export const cb: NamedTask = {
  name: 'cb',
  labels: cbLabels,
  metric: 'macro-f1',
  fields,
  ...superGlue('cb', 'CB'),
  devFrom: 'halves',
  formats: {
    // GPT-3's, as EleutherAI/lm-evaluation-harness writes it down
    gpt2: {
      template: '{premise}\nQuestion: {hypothesis}. True, False, or Neither?\nAnswer:',
      words: { entailment: 'True', contradiction: 'False', neutral: 'Neither' },
    },
    dept: { template: dept, words: numbered(cbLabels) },
    t5: { template: 'cb hypothesis: {hypothesis} premise: {premise}', words: {} },
  },
  rows: rowsOf(cbLabels),
}

export const rte: NamedTask = {
  name: 'rte',
  labels: rteLabels,
  metric: 'accuracy',
  fields,
  ...superGlue('rte', 'RTE'),
  devFrom: 'halves',
  formats: {
    gpt2: {
      template: '{premise}\nQuestion: {hypothesis} True or False?\nAnswer:',
      words: { entailment: 'True', not_entailment: 'False' },
    },
    dept: { template: dept, words: numbered(rteLabels) },
    t5: { template: 'rte hypothesis: {hypothesis} premise: {premise}', words: {} },
  },
  rows: rowsOf(rteLabels),
}
