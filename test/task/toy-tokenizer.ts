// A byte-pair tokenizer small enough to be read: words with the space before them, merges by rank.
// Like GPT-2's, it splits a text otherwise than the text's pieces one by one.

// `_` is the space before a word
const merges =
  't|h th|e _|the i|n in|g e|r _|a o|n r|e a|n n|d i|on a|t at|ion _|w l|l o|u _the|re c|at ' +
  'an|d _a|nd e|s e|d _|f o|r _f|or lo|ng l|o n|g g|e n|ge _|c _c|at _|lo _lo|ng ng|er s|t'
const ranks = new Map(
  merges.split(' ').map((pair, rank) => [pair.replace('_', ' '), rank]),
)
const vocabulary = new Map<string, number>()

function idOf(piece: string): number {
  const id = vocabulary.get(piece) ?? vocabulary.size
  vocabulary.set(piece, id)
  return id
}

/** Token ids of a text: one per UTF-8 byte (written as a character) or merged run of them. */
export function encode(text: string): number[] {
  const words = text.match(/ ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+/gu) ?? []
  return words.flatMap((word) => {
    let pieces = [...Buffer.from(word, 'utf8')].map((byte) => String.fromCharCode(byte))
    for (;;) {
      let best = -1
      let bestRank = Number.POSITIVE_INFINITY
      for (let i = 0; i + 1 < pieces.length; i++) {
        const rank = ranks.get(`${pieces[i]}|${pieces[i + 1]}`)
        if (rank !== undefined && rank < bestRank) [best, bestRank] = [i, rank]
      }
      if (best < 0) return pieces.map(idOf)
      pieces = [
        ...pieces.slice(0, best),
        `${pieces[best]}${pieces[best + 1]}`,
        ...pieces.slice(best + 2),
      ]
    }
  })
}

/** The text of token ids that `encode` gave. */
export function decode(ids: readonly number[]): string {
  const pieces = [...vocabulary.keys()]
  return Buffer.from(ids.map((id) => pieces[id]).join(''), 'latin1').toString('utf8')
}
