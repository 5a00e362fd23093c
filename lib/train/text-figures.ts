// How alike generated texts are to those that are right: exact match, token F1, ROUGE, BLEU and chrF. Knows no model and no
// task. Golden values: test/fixtures/make_text_figures.py.

import { answerF1, isExactMatch } from './answers.js'

/** A text that was generated, and every one that is right. */
export interface Said {
  readonly generated: string
  readonly targets: readonly string[]
}

/** Shares of 1. */
export interface TextFigures {
  /** Share of texts that are one of their targets, but for white space around them. */
  readonly accuracy: number
  /** The same by SQuAD's normalisation: case, punctuation and articles do not count. */
  readonly exactMatch: number
  /** F1 over the words of generated text and target, so normalised; mean, the best of the targets. */
  readonly tokenF1: number
  readonly rouge1: number
  readonly rouge2: number
  readonly rougeL: number
  readonly bleu: number
  readonly chrf: number
}

export function textFigures(rows: readonly Said[]): TextFigures {
  const best = (of: (target: string, generated: string) => number) =>
    mean(
      rows.map(({ generated, targets }) =>
        Math.max(...targets.map((target) => of(target, generated))),
      ),
    )
  const trimmed = rows.map(({ generated, targets }) => ({
    generated: generated.trim(),
    targets: targets.map((target) => target.trim()),
  }))
  return {
    accuracy: mean(
      trimmed.map(({ generated, targets }) => Number(targets.includes(generated))),
    ),
    exactMatch: best((target, text) => Number(isExactMatch(target, text))),
    tokenF1: best(answerF1),
    rouge1: best((target, text) => rougeN(target, text, 1)),
    rouge2: best((target, text) => rougeN(target, text, 2)),
    rougeL: best(rougeL),
    bleu: bleu(trimmed),
    chrf: chrf(trimmed),
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** The tokens of rouge-score 0.1.2 without a stemmer: runs of a-z and 0-9 in lower case. */
function rougeTokens(text: string): string[] {
  return text
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((token) => token !== '')
}

function harmonic(common: number, found: number, right: number): number {
  return common === 0 ? 0 : (2 * common) / (found + right)
}

/** F1 of n-grams, each counted as often as both have it (Lin 2004). */
export function rougeN(target: string, generated: string, n: number): number {
  const [right, found] = [target, generated].map((text) => {
    const tokens = rougeTokens(text)
    return counted(grams(tokens, n, ' '))
  }) as [Map<string, number>, Map<string, number>]
  return harmonic(shared(found, right), total(found), total(right))
}

/** F1 of the longest common subsequence, of the whole text as one sentence. */
export function rougeL(target: string, generated: string): number {
  const right = rougeTokens(target)
  const found = rougeTokens(generated)
  let row = new Array<number>(found.length + 1).fill(0)
  for (const token of right) {
    const next = [0]
    for (const [j, other] of found.entries()) {
      const diagonal = row[j] as number
      const most = Math.max(row[j + 1] as number, next[j] as number)
      next.push(token === other ? diagonal + 1 : most)
    }
    row = next
  }
  return harmonic(row.at(-1) as number, found.length, right.length)
}

const BLEU_ORDER = 4

/**
 * BLEU of all rows together (Papineni et al. 2002), as sacrebleu 2.6 has it by default: tokens as mteval-v13a makes
 * them, exponential smoothing, the length of the closest target. Its score is 100 times this.
 */
export function bleu(rows: readonly Said[]): number {
  const correct = new Array<number>(BLEU_ORDER).fill(0)
  const all = new Array<number>(BLEU_ORDER).fill(0)
  let length = 0
  let rightLength = 0
  for (const { generated, targets } of rows) {
    const found = bleuTokens(generated)
    const rights = targets.map(bleuTokens)
    length += found.length
    rightLength += closest(
      found.length,
      rights.map((tokens) => tokens.length),
    )
    for (let n = 1; n <= BLEU_ORDER; n += 1) {
      const own = counted(grams(found, n, ' '))
      const most = new Map<string, number>()
      for (const right of rights) {
        for (const [gram, count] of counted(grams(right, n, ' '))) {
          most.set(gram, Math.max(count, most.get(gram) ?? 0))
        }
      }
      all[n - 1] = (all[n - 1] as number) + total(own)
      correct[n - 1] = (correct[n - 1] as number) + shared(own, most)
    }
  }
  if (correct.every((count) => count === 0)) return 0
  let smooth = 1
  let logs = 0
  for (let n = 0; n < BLEU_ORDER; n += 1) {
    const [right, found] = [correct[n] as number, all[n] as number]
    if (found === 0) return 0
    if (right === 0) smooth *= 2
    logs += Math.log(right === 0 ? 1 / (smooth * found) : right / found)
  }
  const brevity = length < rightLength ? Math.exp(1 - rightLength / length) : 1
  return brevity * Math.exp(logs / BLEU_ORDER)
}

function closest(length: number, lengths: readonly number[]): number {
  const distance = (other: number) => Math.abs(length - other)
  return lengths.reduce((best, other) => {
    const nearer = distance(other) - distance(best)
    return nearer < 0 || (nearer === 0 && other < best) ? other : best
  })
}

function bleuTokens(text: string): string[] {
  const plain = text
    .trimEnd()
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
  return ` ${plain} `
    .replace(/([{-~[-` -&(-+:-@/])/g, ' $1 ')
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])(-)/g, '$1 $2 ')
    .split(/\s+/)
    .filter((token) => token !== '')
}

const CHRF_ORDER = 6
const CHRF_BETA = 2

/**
 * chrF2 of all rows together (Popović 2015), as sacrebleu 2.6 has it by default: n-grams of up to 6 characters without
 * white space, of each row's best target. Its score is 100 times this.
 */
export function chrf(rows: readonly Said[]): number {
  const sums = Array.from({ length: CHRF_ORDER }, () => ({ found: 0, right: 0, both: 0 }))
  for (const { generated, targets } of rows) {
    const each = targets.map((target) => chrfCounts(generated, target))
    const best = each.reduce((a, b) => (chrfScore(b) > chrfScore(a) ? b : a))
    best.forEach(({ found, right, both }, i) => {
      const sum = sums[i] as (typeof sums)[number]
      sum.found += found
      sum.right += right
      sum.both += both
    })
  }
  return chrfScore(sums)
}

interface GramCounts {
  readonly found: number
  readonly right: number
  readonly both: number
}

function chrfCounts(generated: string, target: string): GramCounts[] {
  const [a, b] = [generated, target].map((text) => [...text.replace(/\s+/g, '')])
  return Array.from({ length: CHRF_ORDER }, (_, i) => {
    const found = counted(grams(a as string[], i + 1, ''))
    const right = counted(grams(b as string[], i + 1, ''))
    const both = shared(found, right)
    // An order that the target is too short for does not count.
    return { found: right.size === 0 ? 0 : total(found), right: total(right), both }
  })
}

function chrfScore(counts: readonly GramCounts[]): number {
  const used = counts.filter(({ found, right }) => found > 0 && right > 0)
  if (used.length === 0) return 0
  const precision = mean(used.map(({ both, found }) => both / found))
  const recall = mean(used.map(({ both, right }) => both / right))
  const factor = CHRF_BETA ** 2
  if (precision + recall === 0) return 0
  return ((1 + factor) * precision * recall) / (factor * precision + recall)
}

function grams(tokens: readonly string[], n: number, joint: string): string[] {
  return Array.from({ length: Math.max(0, tokens.length - n + 1) }, (_, i) =>
    tokens.slice(i, i + n).join(joint),
  )
}

function counted(values: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return counts
}

function total(counts: ReadonlyMap<string, number>): number {
  let sum = 0
  for (const count of counts.values()) sum += count
  return sum
}

/** As often as both have each. */
function shared(
  found: ReadonlyMap<string, number>,
  right: ReadonlyMap<string, number>,
): number {
  let sum = 0
  for (const [gram, count] of found) sum += Math.min(count, right.get(gram) ?? 0)
  return sum
}
