// The text that the model in models/ is pretrained on, as documents: WordNet, the SpamAssassin
// messages and public-domain books, without any text of a bundled task's dev or test rows.
//
//   node scripts/pretraining-text.mjs        prints how much of each source there is

import { pathToFileURL } from 'node:url'
import { books } from './data/books.mjs'
import { messages } from './data/mail.mjs'
import { nearDuplicates } from './data/near-duplicates.mjs'
import { createTextFinder, normaliseText } from './data/normalise.mjs'
import { storedRows } from './data/store.mjs'
import { synsets } from './data/wordnet.mjs'
import { heldOutTexts } from './prepare-data.mjs'

/**
 * The documents, in a fixed order.
 *
 * A document that contains a held-out text (letters only, case and punctuation apart) is left out,
 * and so is a message that is nearly a held-out message, an answer that quotes one among them.
 *
 * @param {object} [options]
 * @param {string[]} [options.sources] of `wordnet`, `mail`, `books`; all by default
 * @param {boolean} [options.hypernyms] whether a WordNet noun goes on with what it is a kind of
 *   (default false): sentences of the form `A kind of canine.`
 * @param {number} [options.mailCharacters] the most of a message's body (default 3000)
 * @param {(document: { source: string, text: string }) => void} [options.onLeftOut]
 * @returns {AsyncGenerator<{ source: string, text: string }>}
 */
export async function* pretrainingText(options = {}) {
  const { sources = ['wordnet', 'mail', 'books'], onLeftOut } = options
  const heldOut = createTextFinder(heldOutTexts())
  const nearHeldOut = nearDuplicates(normaliseText)
  for (const row of storedRows('spam')) {
    if (row.split !== 'train') nearHeldOut.add(row.body)
  }
  for (const source of sources) {
    for await (const document of documentsOf(source, options)) {
      const leftOut =
        heldOut.isIn(document.text) ||
        (source === 'mail' && nearHeldOut.has(document.text))
      if (leftOut) onLeftOut?.(document)
      else yield document
    }
  }
}

function documentsOf(source, { hypernyms = false, mailCharacters = 3000 }) {
  if (source === 'wordnet') return entries(hypernyms)
  if (source === 'mail') return mail(mailCharacters)
  if (source === 'books') return books()
  throw new RangeError(`Expected sources of wordnet, mail, books but received ${source}`)
}

// `dog, domestic dog: a member of the genus Canis…` and the examples, one a line
function* entries(hypernyms) {
  const all = [...synsets()]
  const wordsOf = new Map(all.map(({ id, words }) => [id, words[0]]))
  for (const synset of all) {
    if (synset.definition === '') continue
    const kinds =
      hypernyms && synset.pos === 'noun'
        ? synset.hypernyms.map((id) => wordsOf.get(id)).filter(Boolean)
        : []
    const kind = kinds.length > 0 ? ` A kind of ${kinds.join(', ')}.` : ''
    const entry = `${synset.words.join(', ')}: ${synset.definition.replace(/\.$/, '')}.${kind}`
    yield { source: 'wordnet', text: [entry, ...synset.examples].join('\n') }
  }
}

// the form of the task's template, without its last line
async function* mail(characters) {
  for (const { subject, body } of await messages()) {
    const text =
      body.length <= characters ? body : body.slice(0, characters).replace(/\s+\S*$/, '')
    yield { source: 'mail', text: `Subject: ${subject}\n${text}` }
  }
}

async function main() {
  const counts = new Map()
  const count = ({ source, text }, leftOut) => {
    const sum = counts.get(source) ?? { documents: 0, characters: 0, leftOut: 0 }
    if (leftOut) sum.leftOut++
    else {
      sum.documents++
      sum.characters += text.length
    }
    counts.set(source, sum)
  }
  for await (const document of pretrainingText({
    onLeftOut: (one) => count(one, true),
  })) {
    count(document, false)
  }
  for (const [source, sum] of counts) {
    process.stdout.write(
      `${source}: ${sum.documents} documents, ${sum.characters} characters, ${sum.leftOut} left out\n`,
    )
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
