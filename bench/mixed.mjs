// What it costs that texts have prompts of their own: sixteen prompts in turn, prefixes of 20, GPT-2 small's shape. Peer: as
// many texts of one prompt, in lopt. Scored, 32 texts of 40 tokens a batch, and continued, sixteen texts together.

import { modelSource } from './driver/models.mjs'
import { compare, loptSide } from './driver/sides.mjs'

const model = await modelSource('gpt2-small')
const common = { model, P: 20, placement: 'prefix' }
const score = { kind: 'score', lengths: Array(32).fill(40), batchSize: 32, steps: 8 }
const decode = { kind: 'generate', lengths: Array(16).fill(17), batchSize: 16, steps: 1 }
// `npm run bench -- mixed score`: these only.
const wanted = process.argv[2]
for (const [name, own] of [
  ['score', score],
  ['score, int8', { ...score, dtype: 'int8' }],
  ['decode', { ...decode, newTokens: 48 }],
  ['decode, int8', { ...decode, newTokens: 48, dtype: 'int8' }],
]) {
  if (wanted !== undefined && !name.startsWith(wanted)) continue
  const job = { ...common, ...own }
  const sides = {
    lopt: await loptSide({ ...job, prompts: 16 }),
    peer: await loptSide({ ...job, prompts: 1 }),
  }
  await compare(`mixed: ${name}`, sides, { atLeast: 0.95 })
}
