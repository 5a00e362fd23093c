// What kinds of ops a training step's time goes to: 8 rows of 40 tokens, a prefix of 20, one step. Shares of the
// step's time, medians of several; recording itself slows small ops.

import { modelSource } from './driver/models.mjs'
import { median, RUNS } from './driver/settings.mjs'
import { loptSide, report } from './driver/sides.mjs'

for (const name of ['gpt2-small', 't5-base']) {
  const side = await loptSide({
    model: await modelSource(name),
    lengths: Array(8).fill(40),
    batchSize: 8,
    P: 20,
    placement: 'prefix',
    steps: 1,
  })
  const runs = []
  for (let run = 0; run < RUNS; run += 1) runs.push(await side.ask('shares'))
  await side.end()
  const kinds = Object.keys(runs[0].byKind)
  const shares = kinds.map((kind) =>
    median(runs.map(({ seconds, byKind }) => byKind[kind] / seconds)),
  )
  const rest = 1 - shares.reduce((sum, share) => sum + share, 0)
  for (const [kind, share] of [
    ...kinds.map((kind, i) => [kind, shares[i]]),
    ['no op', rest],
  ]) {
    const lopt = `${(100 * share).toFixed(1)} %`
    report({
      bench: `shares: ${name}, ${kind}`,
      lopt,
      peer: '',
      ratio: '',
      aim: '',
      peak: '',
    })
  }
}
