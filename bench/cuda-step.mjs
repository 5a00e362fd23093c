// Steps on a GPU, captured as one launch each, in bfloat16: GPT-2 large's shape, 8 rows of 40 tokens and 32 of 128, eight
// prompts in a pass, T5-base's. Peers: PEFT and transformers as they come, a step written by hand and compiled
// (`torch.compile(mode="reduce-overhead")`), lopt's prompts one by one. Prints "no GPU" where there is none.

import { availableDevices } from '../dist/torch.js'
import { modelSource } from './driver/models.mjs'
import { isQuick } from './driver/settings.mjs'
import { compare, loptSide, peerSide } from './driver/sides.mjs'

const hasGpu = availableDevices().includes('cuda:0')
if (!hasGpu && !isQuick) console.log('no GPU')
else await all()

async function all() {
  // The first step of a shape runs op by op, the second captures it.
  const count = (steps) => (isQuick ? 2 : steps)
  const common = { P: 20, placement: 'prefix', steps: count(20), warmSteps: count(4) }
  const on = { device: hasGpu ? 'cuda:0' : 'cpu', dtype: 'bfloat16' }
  const gpt2 = { ...common, ...on, model: await modelSource('gpt2-large') }
  const t5 = { ...common, ...on, model: await modelSource('t5-base'), steps: count(10) }
  const rows = (count, tokens) => ({
    lengths: Array(count).fill(tokens),
    batchSize: count,
  })
  const short = { ...gpt2, ...rows(8, 40) }
  // PEFT makes logits of all positions, which takes minutes where no GPU is.
  const long = { ...gpt2, ...(isQuick ? rows(4, 64) : rows(32, 128)) }
  const compiled = { kind: 'compiled', compile: isQuick ? null : 'reduce-overhead' }
  const prompts = { ...short, prompts: 8, steps: count(5) }
  for (const [name, job, peer, atLeast] of [
    ['GPT-2 large, 8 x 40', short, () => peerSide({ ...short, kind: 'peft' }), 5],
    [
      'GPT-2 large, 8 x 40, compiled',
      short,
      () => peerSide({ ...short, ...compiled }),
      1,
    ],
    ['GPT-2 large, 32 x 128', long, () => peerSide({ ...long, kind: 'peft' }), 2],
    ['eight prompts', { ...prompts, together: true }, () => loptSide(prompts), 4],
    [
      'T5-base, 8 x 40',
      { ...t5, ...rows(8, 40) },
      () => peerSide({ ...t5, ...rows(8, 40), kind: 't5' }),
      5,
    ],
  ]) {
    const sides = { lopt: await loptSide(job), peer: await peer() }
    await compare(`cuda-step: ${name}`, sides, { atLeast, peak: false })
  }
}
