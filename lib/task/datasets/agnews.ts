// AG News (Zhang, Zhao and LeCun 2015): what is a news item about?

import type { NamedTask } from './named.js'

const labels = ['World', 'Sports', 'Business', 'Sci/Tech']

export const agnews: NamedTask = {
  name: 'agnews',
  labels,
  metric: 'accuracy',
  fields: ['text'],
  hub: { repository: 'fancyzhx/ag_news', folder: 'data' },
  original: {
    folder: 'ag_news_csv',
    files: { train: 'train.csv', evaluation: 'test.csv' },
    header: ['class', 'title', 'description'],
  },
  evaluation: 'test',
  devFrom: 'train',
  formats: {
    // YuxinWenRick/hard-prompts-made-easy, prompt_lm/
    gpt2: {
      template: '{text} It was about',
      words: {
        World: 'politics',
        Sports: 'sports',
        Business: 'business',
        'Sci/Tech': 'technology',
      },
    },
    // neither DePT nor T5 has the task: made here after their other tasks
    dept: {
      template: 'text: {text}',
      words: { World: '0', Sports: '1', Business: '2', 'Sci/Tech': '3' },
    },
    t5: { template: 'agnews text: {text}', words: {} },
  },
  rows: (record) => {
    const { source } = record
    if (record.has('text')) {
      const fields = { text: record.text('text') }
      return [{ fields, label: record.label('label', labels), source }]
    }
    // classes are counted from 1; title and description with a space between, as on the hub
    const label = labels[record.integer('class') - 1]
    if (label === undefined) return record.refuse('Expected a class in 1..4')
    const text = `${record.text('title')} ${record.text('description')}`
    return [{ fields: { text }, label, source }]
  },
}
