// What of a step's time the products that it performs would take at the machine's own rate: GPT-2 small's shape,
// 8 rows of 40 tokens. Peer: a large sgemm in the same process.

import { modelSource } from './driver/models.mjs'
import { median, RUNS } from './driver/settings.mjs'
import { loptSide, report } from './driver/sides.mjs'

const side = await loptSide({
  model: await modelSource('gpt2-small'),
  lengths: Array(8).fill(40),
  batchSize: 8,
  P: 20,
  placement: 'prefix',
  steps: 1,
})
const shares = []
for (let run = 0; run < RUNS; run += 1) {
  const { seconds } = await side.ask('run')
  const { flops } = await side.ask('products')
  const { flopsPerSecond } = await side.ask('sgemm')
  shares.push(flops / flopsPerSecond / seconds)
}
await side.end()
const share = `${(100 * median(shares)).toFixed(0)} %`
report({ bench: 'peak', lopt: share, peer: '', ratio: '', aim: '75 %', peak: share })
