// Eight suffix prompts in one pass over texts of 128 tokens, first epoch, GPT-2 small's shape. Peer: eight separate
// runs of lopt.

import { modelSource } from './driver/models.mjs'
import { compare, loptSide } from './driver/sides.mjs'

const job = {
  model: await modelSource('gpt2-small'),
  lengths: Array(4).fill(128),
  batchSize: 4,
  P: 20,
  placement: 'suffix',
  prompts: 8,
  budgetBytes: 0, // as in a first epoch: no text was seen before
  steps: 1,
}
const sides = {
  lopt: await loptSide({ ...job, together: true }),
  peer: await loptSide(job),
}
await compare('sweep', sides, { atLeast: 2 })
