// One training step of GPT-2 small's shape on rows that texts answer: 16 rows of 32 tokens and targets of 128, a prefix of
// 20. Time and peak memory. Peer: PEFT's prompt tuning, whose logits are of every position.

import { modelSource } from './driver/models.mjs'
import { compare, loptSide, peerSide } from './driver/sides.mjs'

const job = {
  model: await modelSource('gpt2-small'),
  lengths: Array(16).fill(32),
  batchSize: 16,
  targetTokens: 128,
  P: 20,
  placement: 'prefix',
  steps: 1,
}
const sides = {
  lopt: await loptSide(job),
  peer: await peerSide({ ...job, kind: 'peft' }),
}
await compare('targets-gpt2', sides, { atLeast: 2, memory: true })
