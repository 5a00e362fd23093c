// An epoch over texts of real lengths, GPT-2 small's shape, 16 rows a step. Peer: PEFT's prompt tuning, each
// shuffled batch padded to its longest row.

import { lengthsOf } from './driver/lengths.mjs'
import { modelSource } from './driver/models.mjs'
import { isQuick } from './driver/settings.mjs'
import { compare, loptSide, peerSide } from './driver/sides.mjs'

// `npm run bench -- epoch-gpt2 sst2`: this one only.
const wanted = process.argv[2]
const steps = isQuick ? 2 : 20
const batchSize = 16
const model = await modelSource('gpt2-small')
for (const [data, atLeast] of [
  ['topics', 4],
  ['sst2', 4],
  ['spam', 1.8],
]) {
  if (wanted !== undefined && wanted !== data) continue
  const lengths = await lengthsOf(data, steps * batchSize, 512)
  const job = { model, lengths, batchSize, P: 20, placement: 'prefix', steps }
  const sides = {
    lopt: await loptSide(job),
    peer: await peerSide({ ...job, kind: 'peft' }),
  }
  await compare(`epoch-gpt2: ${data}`, sides, { atLeast })
}
