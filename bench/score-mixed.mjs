// Texts of 16 prompts mixed, 32 texts of 40 tokens at a time, GPT-2 small's shape. Peer: PEFT with 16 adapters, the rows
// of each batch grouped by adapter.

import { modelSource } from './driver/models.mjs'
import { compare, loptSide, peerSide } from './driver/sides.mjs'

const job = {
  kind: 'score',
  model: await modelSource('gpt2-small'),
  lengths: Array(32).fill(40),
  batchSize: 32,
  P: 20,
  placement: 'prefix',
  prompts: 16,
  steps: 4, // batches of a run
}
const sides = { lopt: await loptSide(job), peer: await peerSide(job) }
await compare('score-mixed', sides, { atLeast: 3 })
