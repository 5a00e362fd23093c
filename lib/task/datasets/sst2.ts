// SST-2 (Socher et al. 2013) as in GLUE: is a sentence from a film review positive?

import type { NamedTask } from './named.js'

const labels = ['negative', 'positive']

export const sst2: NamedTask = {
  name: 'sst2',
  labels,
  metric: 'accuracy',
  fields: ['sentence'],
  hub: { repository: 'nyu-mll/glue', folder: 'sst2' },
  original: {
    folder: 'SST-2',
    files: { train: 'train.tsv', evaluation: 'dev.tsv' },
  },
  evaluation: 'validation',
  devFrom: 'train',
  formats: {
    // YuxinWenRick/hard-prompts-made-easy, prompt_lm/
    gpt2: { template: '{sentence}. It was', words: {} },
    dept: { template: 'sentence: {sentence}', words: { negative: '0', positive: '1' } },
    t5: { template: 'sst2 sentence: {sentence}', words: {} },
  },
  rows: (record) => [
    {
      fields: { sentence: record.text('sentence') },
      label: record.label('label', labels),
      source: record.source,
    },
  ],
}
