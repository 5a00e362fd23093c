// One training step of GPT-2 small's shape: 8 rows of 40 tokens, a prefix of 20, one label token. Peer: PEFT's
// prompt tuning.

import { modelSource } from './driver/models.mjs'
import { compare, loptSide, peerSide } from './driver/sides.mjs'

const job = {
  model: await modelSource('gpt2-small'),
  lengths: Array(8).fill(40),
  batchSize: 8,
  P: 20,
  placement: 'prefix',
  steps: 1,
}
const sides = {
  lopt: await loptSide(job),
  peer: await peerSide({ ...job, kind: 'peft' }),
}
await compare('step-gpt2', sides, { atLeast: 2.2 })
