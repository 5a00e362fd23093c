// Texts of 16 prompts mixed, 32 texts of 40 tokens at a time, GPT-2 small's shape. Peer: PEFT with 16 adapters, the rows
// of each batch grouped by adapter; once as it is called, and once told that the last position's logits are enough.

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
  steps: 8, // batches of a run
}
for (const [name, lastLogits, atLeast] of [
  ['score-mixed', false, 3],
  ['score-mixed, last logits', true, undefined],
]) {
  const sides = {
    lopt: await loptSide(job),
    peer: await peerSide({ ...job, lastLogits }),
  }
  await compare(name, sides, { atLeast })
}
