// Whether anything became slower: the jobs of the other benches in this checkout and in another one of lopt, that was
// set up: `npm run bench -- against DIR`, or `npm run bench -- against DIR step-t5`. Peer: the other checkout.

import { resolve } from 'node:path'
import { lengthsOf } from './driver/lengths.mjs'
import { modelSource } from './driver/models.mjs'
import { isQuick } from './driver/settings.mjs'
import { compare, loptSide } from './driver/sides.mjs'

const [folder, wanted] = process.argv.slice(2)
if (folder === undefined) {
  console.log('no other checkout: give its folder')
  process.exit(0)
}

const steps = isQuick ? 2 : 10
const prefix = { placement: 'prefix', P: 20 }
const suffix = { placement: 'suffix', P: 20 }
const small = { ...prefix, model: await modelSource('gpt2-small') }
const t5 = { ...prefix, model: await modelSource('t5-base') }
const large = { ...prefix, model: await modelSource('gpt2-large') }
const nano = { model: await modelSource('nano-gpt2'), batchSize: 16, steps }
const rows = (count, T) => ({ lengths: Array(count).fill(T), batchSize: count })
const topics = async (batchSize, count) => ({
  ...{ lengths: await lengthsOf('topics', batchSize * count, 512), batchSize },
  steps: count,
})
const kept = { ...suffix, batchSize: 16, budgetBytes: 2 ** 30, warmSteps: 2 }
const eight = { prompts: 8, budgetBytes: 0 }

const jobs = {
  'step-gpt2': { ...small, ...rows(8, 40), steps: 1 },
  'epoch-gpt2, topics': { ...small, ...(await topics(16, Math.min(steps, 5))) },
  'suffix-gpt2, T=128': { ...small, ...kept, lengths: Array(32).fill(128), steps: 1 },
  'suffix-gpt2, T=40': { ...small, ...kept, lengths: Array(32).fill(40), steps: 1 },
  'step-t5, T=40': { ...t5, ...rows(8, 40), steps: 1 },
  'step-t5, topics': { ...t5, ...(await topics(8, Math.min(steps, 5))) },
  large: { ...large, ...rows(4, 40), steps: 1 },
  'sweep, suffixes': { ...small, ...suffix, ...eight, ...rows(4, 128), steps: 1 },
  'sweep, together': { ...small, ...eight, ...rows(8, 40), steps: 1, together: true },
  'nano-gpt2, prefix': { ...nano, ...prefix, ...(await topics(16, steps)) },
  'nano-gpt2, suffix': {
    ...{ ...nano, ...suffix, ...(await topics(16, steps)), budgetBytes: 0 },
  },
  'score, 16 prompts': {
    ...small,
    ...rows(32, 40),
    kind: 'score',
    prompts: 16,
    steps: 2,
  },
  'score, one prompt': { ...small, ...rows(32, 40), kind: 'score', steps: 2 },
}
for (const [name, job] of Object.entries(jobs)) {
  if (wanted !== undefined && !name.startsWith(wanted)) continue
  const sides = { lopt: await loptSide(job), peer: await loptSide(job, resolve(folder)) }
  await compare(`against: ${name}`, sides, { atLeast: 0.97, peak: false })
}
