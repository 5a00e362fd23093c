// A step of a suffix prompt in the second epoch or later, GPT-2 small's shape: the texts' keys and values are
// kept. Peer: the same placement in PyTorch with logits where a label is only, and without reuse.

import { modelSource } from './driver/models.mjs'
import { compare, loptSide, peerSide } from './driver/sides.mjs'

const model = await modelSource('gpt2-small')
for (const [T, atLeast] of [
  [128, 6],
  [40, 3],
]) {
  const job = {
    model,
    lengths: Array(32).fill(T),
    batchSize: 16,
    P: 20,
    placement: 'suffix',
    budgetBytes: 2 ** 30,
    steps: 1,
    warmSteps: 2, // the first epoch
  }
  const sides = {
    lopt: await loptSide(job),
    peer: await peerSide({ ...job, kind: 'suffix' }),
  }
  await compare(`suffix-gpt2: T=${T}`, sides, { atLeast })
}
