// Tokens that are decoded: one text, and sixteen together, each behind a prompt of 20 and a text of 17 tokens, GPT-2 small's
// shape, weights of 8 bits. The time from the first tokens to the last ones. Peer: llama.cpp's Q8_0, as many sequences, of 37
// tokens.

import { modelSource } from './driver/models.mjs'
import { compare, llamaSide, loptSide } from './driver/sides.mjs'

const model = await modelSource('gpt2-small')
for (const [streams, atLeast] of [
  [1, 1],
  [16, 3],
]) {
  const job = {
    ...{
      kind: 'generate',
      model,
      dtype: 'int8',
      prompts: streams,
      P: 20,
      placement: 'prefix',
    },
    ...{ lengths: [17, 17], batchSize: streams, newTokens: 48, steps: 1 },
  }
  const sides = { lopt: await loptSide(job), peer: await llamaSide(job) }
  await compare(`decode, int8, ${streams} at once`, sides, { atLeast })
}
