// Documents -> one stream of token ids, cached in the work folder. Knows nothing of the model.

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Tokenizer } from 'tokenizers'
import { pretrainingText } from '../pretraining-text.mjs'

// One document in a hundred measures the loss on text not trained on.
const HELD_OUT_PERCENT = 1
const ENCODE_AT_ONCE = 2000

// Percent of a source's documents that are used, where it is not all: the large books would drown
// the dictionary and the mail that the bundled tasks are about.
const SHARE_PERCENT = { sotu: 25, kjv: 25, factbook: 50 }

/**
 * The text as token ids, documents apart by the token that ends a text.
 *
 * @param trainTokenizer ({ textFile, file }) writes the tokenizer.json
 * @param end the token that ends a text
 * @returns `{ train, heldOut, sources, tokenizerFile }`; ids as Uint16Array, tokens by source
 */
export async function loadCorpus({ folder, trainTokenizer, end }) {
  const tokenizerFile = join(folder, 'tokenizer.json')
  const tokensFile = join(folder, 'tokens.json')
  if (!existsSync(tokensFile)) {
    const documents = await readDocuments()
    if (!existsSync(tokenizerFile)) {
      const textFile = join(folder, 'text.txt')
      await writeFile(textFile, documents.map(({ text }) => text).join('\n'))
      await trainTokenizer({ textFile, file: tokenizerFile })
    }
    await writeTokens({ documents, folder, tokenizerFile, tokensFile, end })
  }
  const { sources } = JSON.parse(await readFile(tokensFile, 'utf8'))
  const ids = async (name) =>
    new Uint16Array((await readFile(join(folder, name))).buffer.slice(0))
  return {
    train: await ids('train.u16'),
    heldOut: await ids('held-out.u16'),
    sources,
    tokenizerFile,
  }
}

// With a hash of the text as key: what is used, the order and the split are the same wherever the
// script runs.
async function readDocuments() {
  const documents = []
  for await (const { source, text } of pretrainingText()) {
    const key = createHash('sha256').update(text).digest('hex')
    if (percentile(key.slice(0, 8)) < (SHARE_PERCENT[source] ?? 100)) {
      documents.push({ source, text, key })
    }
  }
  return documents.sort((a, b) => (a.key.slice(16) < b.key.slice(16) ? -1 : 1))
}

function percentile(hex) {
  return Number.parseInt(hex, 16) % 100
}

async function writeTokens({ documents, folder, tokenizerFile, tokensFile, end }) {
  const tokenizer = Tokenizer.fromFile(tokenizerFile)
  const endId = tokenizer.tokenToId(end)
  const parts = { train: [], heldOut: [] }
  const sources = {}
  for (let from = 0; from < documents.length; from += ENCODE_AT_ONCE) {
    const some = documents.slice(from, from + ENCODE_AT_ONCE)
    const texts = some.map(({ text }) => text)
    const encodings = await tokenizer.encodeBatch(texts, { addSpecialTokens: false })
    encodings.forEach((encoding, i) => {
      const { source, key } = some[i]
      const split = percentile(key.slice(8, 16)) < HELD_OUT_PERCENT ? 'heldOut' : 'train'
      const ids = encoding.getIds()
      parts[split].push(...ids, endId)
      sources[source] ??= { documents: 0, tokens: 0 }
      sources[source].documents += 1
      sources[source].tokens += ids.length + 1
    })
  }
  await writeFile(
    join(folder, 'train.u16'),
    new Uint8Array(Uint16Array.from(parts.train).buffer),
  )
  await writeFile(
    join(folder, 'held-out.u16'),
    new Uint8Array(Uint16Array.from(parts.heldOut).buffer),
  )
  await writeFile(`${tokensFile}.part`, JSON.stringify({ sources }))
  await rename(`${tokensFile}.part`, tokensFile)
}
