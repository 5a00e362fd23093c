// Time and peak memory of a step of GPT-2 large's shape, 4 rows of 40 tokens. Peer: PEFT's prompt tuning.

import { modelSource } from './driver/models.mjs'
import { compare, loptSide, peerSide } from './driver/sides.mjs'

const job = {
  model: await modelSource('gpt2-large'),
  lengths: Array(4).fill(40),
  batchSize: 4,
  P: 20,
  placement: 'prefix',
  steps: 1,
}
const sides = {
  lopt: await loptSide(job),
  peer: await peerSide({ ...job, kind: 'peft' }),
}
await compare('large', sides, { atLeast: 1.6, memory: true })
