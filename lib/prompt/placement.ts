// Where the prompt stands among a row's tokens. Knows lengths only, no tensor.

export const PLACEMENTS = ['prefix', 'suffix', 'after-first-token'] as const

/** Where a prompt stands: before the text, behind it, or after its first token. */
export type Placement = (typeof PLACEMENTS)[number]

/**
 * The order in which a row's vectors stand: 0..P-1 are the prompt's, P + j is token j of the text
 * and, after it, the label.
 *
 * `prefix`: [prompt | text | label]; `suffix`: [text | prompt | label], at the row's own length;
 * `after-first-token`: [text₀ | prompt | text₁… | label].
 *
 * @param P prompt length
 * @param textTokens tokens of the text
 * @param tokens tokens of text and label together
 */
export function arrange(
  placement: Placement,
  P: number,
  textTokens: number,
  tokens: number,
): number[] {
  const before = { prefix: 0, suffix: textTokens, 'after-first-token': 1 }[placement]
  const prompt = Array.from({ length: P }, (_, i) => i)
  const text = Array.from({ length: tokens }, (_, j) => P + j)
  return [...text.slice(0, before), ...prompt, ...text.slice(before)]
}
