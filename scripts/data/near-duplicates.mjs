// Texts that are the same but for names, numbers and a few words, by their shared word sequences.

// Five words in a row seldom agree by chance; five, so that a short message has some.
const shingleWords = 5

/**
 * Remembers texts and finds near-copies of them: texts of which at least half of the five-word
 * sequences (of the shorter of the two) are the same.
 *
 * @param {(text: string) => string} normalise text → its words with one space between
 */
export function nearDuplicates(normalise) {
  const owners = new Map()
  const sizes = []

  const shinglesOf = (text) => {
    const words = normalise(text).split(' ')
    const shingles = new Set()
    for (let i = 0; i + shingleWords <= words.length; i++) {
      shingles.add(words.slice(i, i + shingleWords).join(' '))
    }
    return shingles
  }

  return {
    /** Whether a text that was added is nearly `text`. */
    has(text) {
      const shingles = shinglesOf(text)
      const shared = new Map()
      for (const shingle of shingles) {
        for (const owner of owners.get(shingle) ?? []) {
          shared.set(owner, (shared.get(owner) ?? 0) + 1)
        }
      }
      for (const [owner, count] of shared) {
        if (count >= Math.min(sizes[owner], shingles.size) / 2) return true
      }
      return false
    },
    add(text) {
      const shingles = shinglesOf(text)
      for (const shingle of shingles) {
        const known = owners.get(shingle)
        if (known) known.push(sizes.length)
        else owners.set(shingle, [sizes.length])
      }
      sizes.push(shingles.size)
    },
  }
}
