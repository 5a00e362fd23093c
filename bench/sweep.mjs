// Eight prompts in one pass: suffixes behind texts of 128 tokens, in a first epoch, and prefixes before texts of 40, of
// GPT-2 small's shape and of nano-gpt2. Peer: eight separate runs of lopt.

import { modelSource } from './driver/models.mjs'
import { compare, loptSide } from './driver/sides.mjs'

const eight = { prompts: 8, P: 20 }
const jobs = {
  'sweep, suffixes': {
    ...{ ...eight, model: await modelSource('gpt2-small'), placement: 'suffix' },
    lengths: Array(4).fill(128),
    batchSize: 4,
    budgetBytes: 0, // as in a first epoch: no text was seen before
    steps: 1,
    atLeast: 3,
  },
  'sweep, suffixes, nano-gpt2': {
    ...{ ...eight, model: await modelSource('nano-gpt2'), placement: 'suffix' },
    lengths: Array(16).fill(40),
    batchSize: 16,
    budgetBytes: 0,
    steps: 10,
    atLeast: 3,
  },
  'sweep, prefixes, nano-gpt2': {
    ...{ ...eight, model: await modelSource('nano-gpt2'), placement: 'prefix' },
    lengths: Array(16).fill(40),
    batchSize: 16,
    steps: 10,
    atLeast: 1.5,
  },
  'sweep, prefixes': {
    ...{ ...eight, model: await modelSource('gpt2-small'), placement: 'prefix' },
    lengths: Array(8).fill(40),
    batchSize: 8,
    steps: 1,
    atLeast: 1,
  },
}
for (const [name, { atLeast, ...job }] of Object.entries(jobs)) {
  const sides = {
    lopt: await loptSide({ ...job, together: true }),
    peer: await loptSide(job),
  }
  await compare(name, sides, { atLeast })
}
