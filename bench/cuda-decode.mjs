// Tokens that are decoded on a GPU, a token of all texts as one launch: one text, and sixteen together, each behind a prompt of
// 20 and a text of 17 tokens, 128 tokens each, in bfloat16: GPT-2 large's shape and T5-base's. The time from the first tokens
// to the last ones. Peer: transformers' `generate` with a static cache, compiled. Prints "no GPU" where there is none.

import { availableDevices } from '../dist/torch.js'
import { modelSource } from './driver/models.mjs'
import { isQuick } from './driver/settings.mjs'
import { compare, loptSide, peerSide } from './driver/sides.mjs'

const hasGpu = availableDevices().includes('cuda:0')
if (!hasGpu && !isQuick) console.log('no GPU')
else await all()

async function all() {
  const newTokens = isQuick ? 8 : 128
  // The first text makes plans and captures, the second finds them made.
  const common = { kind: 'generate', P: 20, placement: 'prefix', steps: 1, warmSteps: 2 }
  const on = { device: hasGpu ? 'cuda:0' : 'cpu', dtype: 'bfloat16' }
  for (const [name, shape, streams, tokensAtLeast] of [
    ['GPT-2 large', 'gpt2-large', 1, 400],
    ['GPT-2 large', 'gpt2-large', 16, 3000],
    ['T5-base', 't5-base', 1],
    ['T5-base', 't5-base', 16],
  ]) {
    const own = {
      ...{ ...common, ...on, newTokens, model: await modelSource(shape) },
      ...{ prompts: streams, batchSize: streams, lengths: Array(streams).fill(17) },
    }
    const kind = shape === 't5-base' ? 't5-generate' : 'generate'
    const peer = { ...own, kind, ...(hasGpu && { cache: 'static' }) }
    const sides = { lopt: await loptSide(own), peer: await peerSide(peer) }
    const tokens = streams * (newTokens - 1)
    const how = { tokens, tokensAtLeast, peak: false }
    await compare(`cuda-decode: ${name}, ${streams} at once`, sides, how)
  }
}
