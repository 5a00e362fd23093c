// WiC (Pilehvar and Camacho-Collados 2019): does a word mean the same in two sentences?

import type { Cells } from './cells.js'
import type { NamedTask } from './named.js'
import { falseTrue, noYes, numbered, superGlue } from './superglue.js'

const dept = 'sentence1: {sentence1} sentence2: {sentence2} word: {word}'

export const wic: NamedTask = {
  name: 'wic',
  labels: falseTrue,
  metric: 'accuracy',
  // `form`: the word as it stands in the first sentence
  fields: ['sentence1', 'sentence2', 'word', 'form'],
  ...superGlue('wic', 'WiC'),
  devFrom: 'halves',
  formats: {
    // EleutherAI/lm-evaluation-harness, super_glue/wic/default.yaml
    gpt2: {
      template:
        "Sentence 1: {sentence1}\nSentence 2: {sentence2}\nQuestion: Is the word '{form}' used in the " +
        'same way in the two sentences above?\nAnswer:',
      words: noYes,
    },
    dept: { template: dept, words: numbered(falseTrue) },
    t5: { template: `wic ${dept}`, words: {} },
  },
  rows: (record) => {
    const [form] = [formIn(record, 1), formIn(record, 2)]
    const fields = {
      sentence1: record.text('sentence1'),
      sentence2: record.text('sentence2'),
      word: record.text('word'),
      form,
    }
    return [{ fields, label: record.label('label', falseTrue), source: record.source }]
  },
}

/** The characters start..end - 1 of a sentence. */
function formIn(record: Cells, n: 1 | 2): string {
  const characters = [...record.text(`sentence${n}`)]
  const [start, end] = [record.integer(`start${n}`), record.integer(`end${n}`)]
  if (start >= end || end > characters.length) {
    return record.refuse(
      `The word at ${start}..${end} lies outside sentence${n} of ${characters.length} characters`,
    )
  }
  return characters.slice(start, end).join('')
}
