// Tokens that are decoded: one text, and sixteen together, each behind a prompt of 20 and a text of 17 tokens, 48 tokens each.
// The time from the first tokens to the last ones. GPT-2 small's shape, weights of 8 bits; peer: llama.cpp's Q8_0, as many
// sequences, of 37 tokens. T5-base's shape, in each dtype; peer: transformers' `generate` in float32, a soft prompt at the encoder.

import { modelSource } from './driver/models.mjs'
import { compare, llamaSide, loptSide, peerSide } from './driver/sides.mjs'

// `npm run bench -- decode t5`: this one only.
const wanted = process.argv[2]
const job = { kind: 'generate', P: 20, placement: 'prefix', newTokens: 48, steps: 1 }
const of = (streams) => ({
  ...{ ...job, prompts: streams, batchSize: streams },
  lengths: Array(streams).fill(17),
})

const gpt2 = await modelSource('gpt2-small')
for (const [streams, atLeast] of [
  [1, 1],
  [16, 3],
]) {
  if (wanted !== undefined && wanted !== 'gpt2') continue
  const own = { ...of(streams), model: gpt2, dtype: 'int8' }
  const sides = { lopt: await loptSide(own), peer: await llamaSide(own) }
  await compare(`decode, int8, ${streams} at once`, sides, { atLeast })
}

const t5 = await modelSource('t5-base')
for (const [dtype, atLeast] of [['float32'], ['bfloat16'], ['int8', 4]]) {
  if (wanted !== undefined && wanted !== 't5') continue
  const own = { ...of(16), model: t5 }
  const sides = {
    lopt: await loptSide({ ...own, dtype }),
    peer: await peerSide({ ...own, kind: 't5-generate' }),
  }
  await compare(`decode, T5-base's shape, ${dtype}, 16 at once`, sides, { atLeast })
}
