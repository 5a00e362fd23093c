// A training step of T5-base's shape, a soft prompt of 20 at the encoder, two label tokens: 8 rows of 40 tokens,
// and an epoch over `topics`. Peer: transformers with a soft prompt.

import { lengthsOf } from './driver/lengths.mjs'
import { modelSource } from './driver/models.mjs'
import { isQuick } from './driver/settings.mjs'
import { compare, loptSide, peerSide } from './driver/sides.mjs'

const model = await modelSource('t5-base')
const epoch = isQuick ? 2 : 10
for (const [name, lengths, steps, atLeast] of [
  ['T=40', Array(8).fill(40), 1, 1.15],
  ['topics', await lengthsOf('topics', 8 * epoch, 512), epoch, 1.5],
]) {
  const job = { model, lengths, batchSize: 8, P: 20, placement: 'prefix', steps }
  const sides = {
    lopt: await loptSide(job),
    peer: await peerSide({ ...job, kind: 't5' }),
  }
  await compare(`step-t5: ${name}`, sides, { atLeast })
}
