// Eight prompts in one pass: suffixes behind texts in a first epoch, and prefixes, of GPT-2 small's shape and of nano-gpt2
// on its own task. Peer: eight separate runs of lopt.

import { lengthsOf } from './driver/lengths.mjs'
import { modelSource } from './driver/models.mjs'
import { isQuick } from './driver/settings.mjs'
import { compare, loptSide } from './driver/sides.mjs'

const steps = isQuick ? 2 : 10
const small = { model: await modelSource('gpt2-small'), steps: 1 }
const nano = {
  ...{ model: await modelSource('nano-gpt2'), steps, batchSize: 16 },
  lengths: await lengthsOf('topics', 16 * steps, 200),
}
const jobs = {
  'sweep, suffixes': { ...small, lengths: Array(4).fill(128), batchSize: 4, atLeast: 3 },
  'sweep, prefixes': { ...small, lengths: Array(8).fill(40), batchSize: 8, atLeast: 1 },
  'sweep, suffixes, nano-gpt2': { ...nano, atLeast: 1.5 },
  'sweep, prefixes, nano-gpt2': { ...nano, atLeast: 1.5 },
}
for (const [name, { atLeast, ...own }] of Object.entries(jobs)) {
  const placement = name.includes('suffixes') ? 'suffix' : 'prefix'
  // Nothing is kept of texts, as in a first epoch: none was seen before.
  const job = { ...own, placement, P: 20, prompts: 8, budgetBytes: 0 }
  const sides = {
    lopt: await loptSide({ ...job, together: true }),
    peer: await loptSide(job),
  }
  await compare(name, sides, { atLeast })
}
