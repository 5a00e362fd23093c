// T5's own WSC is answered freely with a noun. What stands in for that here: the text's own word
// sequences as candidates, and T5's rule for when a noun is the one that was meant.

/**
 * Sequences of words of the text, as long as the noun, without the pronoun and the punctuation around
 * them. Free generation could say anything; in practice it copies from the text.
 */
export function alternatives(starred: string, noun: string, pronoun: string): string[] {
  const words = starred.split(/\s+/).filter((word) => word !== '')
  const length = noun.trim().split(/\s+/).length
  const found: string[] = []
  for (let at = 0; at + length <= words.length; at += 1) {
    const some = words.slice(at, at + length)
    if (some.some((word) => word.startsWith(`*${pronoun}*`))) continue
    const text = some.join(' ').replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, '')
    if (text !== '' && !found.includes(text)) found.push(text)
  }
  return found
}

const determiners = new Set(
  'a an few her his each every many much my our some that the their these this those which whose your'.split(
    ' ',
  ),
)

/** t5/data/postprocessors.py, `wsc_simple`: case and determiners apart, one's words are all the other's. */
export function isReferent(prediction: string, noun: string): boolean {
  const [found, meant] = [cleaned(prediction), cleaned(noun)]
  if (found === '') return false
  // "Bob" is not "Bob's hat"
  if (found.includes("'") !== meant.includes("'")) return false
  const [some, other] = [new Set(found.split(' ')), new Set(meant.split(' '))]
  const within = (inner: Set<string>, outer: Set<string>) =>
    [...inner].every((word) => outer.has(word))
  return within(some, other) || within(other, some)
}

function cleaned(text: string): string {
  const words = text.trim().toLowerCase().split(' ')
  return words.filter((word) => !determiners.has(word)).join(' ')
}
