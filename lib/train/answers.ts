// How alike an answer and a prediction are, in words: SQuAD's normalisation, F1 and exact match
// (Rajpurkar et al. 2016; t5/evaluation/qa_utils.py of google-research/text-to-text-transfer-transformer).

// Python's string.punctuation, which SQuAD drops
const PUNCTUATION = /[!"#$%&'()*+,\-./:;<=>?@[\\\]^_`{|}~]/g

/** Lowercase words without punctuation and articles. */
function words(text: string): string[] {
  return text
    .toLowerCase()
    .replace(PUNCTUATION, '')
    .replace(/(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu, ' ')
    .split(/\s+/)
    .filter((word) => word !== '')
}

export function isExactMatch(answer: string, prediction: string): boolean {
  return words(answer).join(' ') === words(prediction).join(' ')
}

/** Harmonic mean of the shares of prediction and answer that are in the other, words counted. */
export function answerF1(answer: string, prediction: string): number {
  const [right, found] = [words(answer), words(prediction)]
  const left = new Map<string, number>()
  for (const word of right) left.set(word, (left.get(word) ?? 0) + 1)
  let common = 0
  for (const word of found) {
    const count = left.get(word) ?? 0
    if (count > 0) common += 1
    left.set(word, count - 1)
  }
  // 2 P R / (P + R) with P = common / found and R = common / right
  return common === 0 ? 0 : (2 * common) / (found.length + right.length)
}
