// Lengths of texts, in tokens: of the bundled data sets as they are, and of SST-2 from what is published.

import { loadBackbone, loadTask } from '../../dist/index.js'

/** A stream of numbers in 0..1 that a seed fixes: a 32-bit linear congruential generator. */
function numbers(seed) {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state + 0.5) / 2 ** 32
  }
}

// Kim 2014 (arXiv:1408.5882), table 1: SST-2's sentences have 19 words on average; the longest has 53
// (Socher et al. 2013's data). The spread is not in the table: log-normal with a σ of 0.6 is assumed here, and
// 1.2 tokens a word.
function sst2(count) {
  const next = numbers(0)
  const sigma = 0.6
  return Array.from({ length: count }, () => {
    const normal = Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next())
    const words = 19 * Math.exp(sigma * normal - sigma ** 2 / 2)
    return Math.max(1, Math.round(1.2 * Math.min(53, words)))
  })
}

/** `count` lengths of `topics`, `spam` or `sst2`, each at most `most`. */
export async function lengthsOf(name, count, most) {
  if (name === 'sst2') return sst2(count)
  const backbone = await loadBackbone('builtin:nano-gpt2')
  const { train } = await loadTask(name, { limit: { train: count } })
  const lengths = train.map(({ fields }) => {
    const text = Object.values(fields).join(' ')
    return Math.max(1, Math.min(most, backbone.tokenizer.encode(text).length))
  })
  backbone.dispose()
  return lengths
}
