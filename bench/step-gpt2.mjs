// One training step of GPT-2 small's shape: 8 rows of 40 tokens, a prefix of 20, one label token. Peer: PEFT's
// prompt tuning; of a step in bfloat16 lopt's own in float32.

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
// `npm run bench -- step-gpt2 bfloat16`: this one only.
const wanted = process.argv[2]
for (const [dtype, peer, atLeast] of [
  ['float32', () => peerSide({ ...job, kind: 'peft' }), 2.2],
  ['bfloat16', () => loptSide(job), 1.3],
]) {
  if (wanted !== undefined && wanted !== dtype) continue
  const sides = { lopt: await loptSide({ ...job, dtype }), peer: await peer() }
  await compare(`step-gpt2, ${dtype}`, sides, { atLeast })
}
