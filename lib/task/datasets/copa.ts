// COPA (Roemmele et al. 2011): which of two sentences is the cause, or the effect, of a premise?

import type { NamedTask } from './named.js'
import { numbered, superGlue } from './superglue.js'

const labels = ['choice1', 'choice2'] as const
const connectors: Readonly<Record<string, string>> = {
  cause: 'because',
  effect: 'therefore',
}

export const copa: NamedTask = {
  name: 'copa',
  labels,
  metric: 'accuracy',
  fields: ['premise', 'choice1', 'choice2', 'question', 'clause', 'connector'],
  ...superGlue('copa', 'COPA'),
  devFrom: 'halves',
  formats: {
    // EleutherAI/lm-evaluation-harness, super_glue/copa/utils.py: the alternatives continue the premise
    gpt2: {
      template: '{clause} {connector}',
      words: {},
      candidates: ({ fields }) =>
        labels.map((label) => ({
          label,
          words: lowered(fields[label] as string).trim(),
        })),
    },
    dept: {
      template: 'premise: {premise} choice1: {choice1} choice2: {choice2}',
      words: numbered(labels),
    },
    t5: {
      template:
        'copa choice1: {choice1} choice2: {choice2} premise: {premise} question: {question}',
      words: {},
    },
  },
  rows: (record) => {
    const [premise, question] = [record.text('premise'), record.text('question')]
    const connector = Object.hasOwn(connectors, question)
      ? connectors[question]
      : undefined
    if (connector === undefined) {
      return record.refuse(
        `Expected field "question" to be cause or effect but received ${JSON.stringify(question)}`,
      )
    }
    const [choice1, choice2] = [record.text('choice1'), record.text('choice2')]
    const clause = premise.trim().slice(0, -1) // without its full stop
    return [
      {
        fields: { premise, choice1, choice2, question, clause, connector },
        label: record.label('label', labels),
        source: record.source,
      },
    ]
  },
}

function lowered(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1)
}
