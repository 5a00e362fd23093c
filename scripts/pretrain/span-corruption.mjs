// T5's two pretraining tasks on token ids: span corruption, and prefix language modelling, which LM
// adaptation goes on with. Knows no tensor.
//
// Raffel et al. 2020, section 3.1.4 and 3.3.4, and text-to-text-transfer-transformer's
// preprocessors.py (random_spans_noise_mask, random_spans_helper); LM adaptation: Lester et al. 2021,
// section 2.2. Every `random` gives numbers in [0, 1).

// T5's own were 15 % and 3. Half of the tokens in longer spans (UL2's extreme denoising: Tay et al.
// 2022, section 3.1) gives three times the targets a step, which is what a small run is short of.
const NOISE_DENSITY = 0.5
const MEAN_SPAN = 8

/** How many of `length` tokens are left out, and in how many spans. */
function noiseCounts(length) {
  const noise = Math.min(Math.max(Math.round(length * NOISE_DENSITY), 1), length - 1)
  const spans = Math.max(Math.round(noise / MEAN_SPAN), 1)
  return { noise, spans: Math.min(spans, length - noise) }
}

/**
 * The greatest number of tokens whose corrupted form, sentinels and end token included, is `inputs`
 * long at most.
 */
export function windowFor(inputs) {
  let length = inputs
  const corrupted = (n) => {
    const { noise, spans } = noiseCounts(n)
    return n - noise + spans + 1
  }
  while (corrupted(length + 1) <= inputs) length += 1
  return length
}

/** `count` positive integers that sum to `total`, every choice equally likely. */
function randomParts(total, count, random) {
  // Where parts begin: count - 1 of the total - 1 places between items.
  const places = Array.from({ length: total - 1 }, (_, i) => i + 1)
  for (let i = 0; i < count - 1; i += 1) {
    const j = i + Math.floor(random() * (places.length - i))
    const other = places[j]
    places[j] = places[i]
    places[i] = other
  }
  const cuts = [0, ...places.slice(0, count - 1).sort((a, b) => a - b), total]
  return cuts.slice(1).map((cut, i) => cut - cuts[i])
}

/**
 * Spans of the tokens are replaced by a sentinel each; the target has the sentinels, each with what it
 * stands for. Tokens that are kept come first, and the two alternate.
 *
 * @param sentinelId (i) → the id of the i-th sentinel
 * @param end id of the token that ends both
 * @returns `{ input, target }`
 */
export function corruptSpans(ids, { random, sentinelId, end }) {
  const { noise, spans } = noiseCounts(ids.length)
  const left = randomParts(noise, spans, random)
  const kept = randomParts(ids.length - noise, spans, random)
  const input = []
  const target = []
  let at = 0
  for (let i = 0; i < spans; i += 1) {
    input.push(...ids.slice(at, at + kept[i]), sentinelId(i))
    at += kept[i]
    target.push(sentinelId(i), ...ids.slice(at, at + left[i]))
    at += left[i]
  }
  return { input: [...input, end], target: [...target, end] }
}

/** The first `at` tokens are given, the rest is the target. */
export function splitPrefix(ids, { at, end }) {
  return { input: [...ids.slice(0, at), end], target: [...ids.slice(at), end] }
}
