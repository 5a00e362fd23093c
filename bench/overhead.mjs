// The share of a step that is not inside libtorch's ops: nano-gpt2, 16 rows of 24 tokens.

import { median, RUNS } from './driver/settings.mjs'
import { loptSide, report } from './driver/sides.mjs'

const side = await loptSide({
  model: 'builtin:nano-gpt2',
  lengths: Array(16).fill(24),
  batchSize: 16,
  P: 20,
  placement: 'prefix',
  steps: 20,
  warmSteps: 5,
})
const shares = []
for (let run = 0; run < RUNS; run += 1) {
  const { seconds, opSeconds } = await side.ask('overhead')
  shares.push(1 - opSeconds / seconds)
}
await side.end()
const share = `${(100 * median(shares)).toFixed(1)} %`
report({
  bench: 'overhead',
  lopt: share,
  peer: '',
  ratio: '',
  aim: 'under 10 %',
  peak: '',
})
