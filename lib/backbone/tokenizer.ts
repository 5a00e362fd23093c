// Tokenizers from a Hugging Face tokenizer.json. Knows files and special tokens; the work is done by
// the `tokenizers` library on threads of its own.

import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { LoptError } from '../errors.js'
import { kindOf } from '../torch/check.js'
import type { Tokenizer } from './contract.js'
import { convertedTokenizer, MAX_TOKENIZER_BYTES } from './converted-tokenizer.js'
import { parseJson, readJson, readText } from './json-file.js'
import { charactersPerToken } from './token-length.js'
import {
  type FlatIds,
  type LoadedTokenizer,
  TokenizerThread,
} from './tokenizer-thread.js'

const ROLES = ['eos', 'bos', 'pad'] as const
type Role = (typeof ROLES)[number]

// What transformers' GPT-2 tokenizer takes for beginning and end when no file names them.
const GPT2_END_OF_TEXT = '<|endoftext|>'

/** Answers what a caller sleeps for: the tokens of texts that are being continued, among others. */
const waited = new TokenizerThread()
/** Encodes texts of any length off the event loop. Nobody who sleeps waits behind them. */
const unwaited = new TokenizerThread()

/** `charactersPerToken` by files, looked for when it is asked for: the vocabulary is long. */
const lengths = new WeakMap<object, number>()

let tokenizers = 0
// Frees the thread's side when nothing refers to a tokenizer any more. It waits for the event loop:
// a tokenizer is small, and only its backbone's weights need freeing at once.
const collected = new FinalizationRegistry<number>((id) => {
  for (const thread of [waited, unwaited]) thread.forget(id)
})

class ThreadTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly baseVocabSize: number
  readonly files: Readonly<Record<string, string>>
  readonly eosTokenId?: number
  readonly bosTokenId?: number
  readonly padTokenId?: number
  readonly firstTokenId?: number
  readonly #id: number
  /** Once the other thread has it too. */
  #isThere: Promise<unknown> | undefined

  constructor(
    id: number,
    loaded: LoadedTokenizer,
    files: Readonly<Record<string, string>>,
    special: Partial<Record<Role, number>>,
  ) {
    this.#id = id
    this.vocabSize = loaded.vocabSize
    this.baseVocabSize = loaded.baseVocabSize
    this.files = files
    if (special.eos !== undefined) this.eosTokenId = special.eos
    if (special.bos !== undefined) this.bosTokenId = special.bos
    if (special.pad !== undefined) this.padTokenId = special.pad
    if (loaded.firstTokenId !== undefined) this.firstTokenId = loaded.firstTokenId
    collected.register(this, id)
  }

  get charactersPerToken(): number {
    const known = lengths.get(this.files)
    const found = known ?? charactersPerToken(this.files['tokenizer.json'] as string)
    lengths.set(this.files, found)
    return found
  }

  encode(text: string): number[] {
    return listsOf(waited.call('encode', this.#id, [checkText(text, 'text')]))[0] ?? []
  }

  encodeBatch(texts: readonly string[]): number[][] {
    const checked = checkTexts(texts)
    return checked.length === 0 ? [] : listsOf(waited.call('encode', this.#id, checked))
  }

  async tokenize(texts: readonly string[]): Promise<number[][]> {
    const checked = checkTexts(texts)
    if (checked.length === 0) return []
    const json = this.files['tokenizer.json'] as string
    this.#isThere ??= unwaited.request('load', this.#id, json, [])
    await this.#isThere
    return listsOf(await unwaited.request('encode', this.#id, checked))
  }

  decode(ids: readonly number[], options: { skipSpecialTokens?: boolean } = {}): string {
    return this.decodeBatch([ids], options)[0] as string
  }

  decodeBatch(
    lists: readonly (readonly number[])[],
    { skipSpecialTokens = true }: { skipSpecialTokens?: boolean } = {},
  ): string[] {
    // A model may have rows that no token belongs to, T5's above 32,099 for one: they decode to nothing.
    const known = lists.map((ids) => checkIds(ids).filter((id) => id < this.vocabSize))
    return known.length === 0
      ? []
      : waited.call('decode', this.#id, known, skipSpecialTokens)
  }
}

function listsOf({ ids, lengths }: FlatIds): number[][] {
  let end = 0
  return Array.from(lengths, (length) => {
    end += length
    return Array.from(ids.subarray(end - length, end))
  })
}

function checkText(text: unknown, name: string): string {
  if (typeof text === 'string') return text
  throw new TypeError(`Expected ${name} to be a string but received ${kindOf(text)}`)
}

function checkTexts(texts: readonly string[]): readonly string[] {
  if (!Array.isArray(texts)) {
    throw new TypeError(
      `Expected texts to be an array of strings but received ${kindOf(texts)}`,
    )
  }
  for (const [i, text] of texts.entries()) checkText(text, `texts[${i}]`)
  return texts
}

function checkIds(ids: readonly number[]): readonly number[] {
  if (!Array.isArray(ids)) {
    throw new TypeError(
      `Expected ids to be an array of numbers but received ${kindOf(ids)}`,
    )
  }
  const wrong = ids.findIndex((id) => !Number.isSafeInteger(id) || id < 0)
  if (wrong === -1) return ids
  throw new RangeError(
    `Expected ids[${wrong}] to be an integer of 0 or more but received ${String(ids[wrong])}`,
  )
}

/**
 * Reads a tokenizer.
 *
 * @param path a tokenizer.json, or the folder that holds one, or a T5's spiece.model, or a GPT-2's
 *   vocab.json and merges.txt, which are converted as transformers 5 does it; a tokenizer_config.json
 *   beside it names the special tokens
 * @param config config.json's content, whose `eos_token_id`… count where no file names a token
 * @throws LoptError `ERR_MODEL_FILE` when there is no tokenizer.json and none can be made, or the library
 *   refuses it; `ERR_UNSUPPORTED` for files of a kind that is not converted.
 */
export async function loadTokenizer(
  path: string,
  { config = {} }: { config?: Readonly<Record<string, unknown>> } = {},
): Promise<Tokenizer> {
  checkText(path, 'path')
  const isFile = (await stat(path).catch(() => undefined))?.isFile() ?? false
  const folder = isFile ? join(path, '..') : path
  const file = isFile ? path : join(path, 'tokenizer.json')
  const settingsFile = join(folder, 'tokenizer_config.json')
  const stated = await readJson(settingsFile)
  const text = await readText(file, MAX_TOKENIZER_BYTES)
  const { json, settings, origin } =
    text === undefined
      ? await convertedTokenizer(folder, stated, config)
      : { json: text, settings: stated, origin: file }
  const files: Record<string, string> = { 'tokenizer.json': json }
  if (settings !== undefined)
    files['tokenizer_config.json'] = JSON.stringify(settings, null, 2)
  return await tokenizerFromFiles(files, { origin, config })
}

/**
 * A tokenizer from the texts of its files.
 *
 * @param files tokenizer.json, and tokenizer_config.json where there is one
 * @param of.origin names them in errors
 */
export async function tokenizerFromFiles(
  files: Readonly<Record<string, string>>,
  of: { origin: string; config: Readonly<Record<string, unknown>> },
): Promise<Tokenizer> {
  const text = files['tokenizer_config.json']
  const settings = text === undefined ? {} : parseJson(text, of.origin)
  const named = Object.fromEntries(
    ROLES.map((role) => [role, tokenText(settings[`${role}_token`])]),
  ) as Record<Role, string | undefined>
  const wanted = [...Object.values(named), GPT2_END_OF_TEXT].filter(
    (text) => text !== undefined,
  )
  const id = tokenizers++
  let loaded: LoadedTokenizer
  try {
    loaded = await waited.request('load', id, files['tokenizer.json'] as string, wanted)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new LoptError('ERR_MODEL_FILE', `${of.origin}: not a tokenizer: ${reason}`, {
      cause,
    })
  }
  const special: Partial<Record<Role, number>> = {}
  for (const role of ROLES) {
    const found = specialId(role, named[role], of.config, loaded)
    if (found !== undefined) special[role] = found
  }
  return new ThreadTokenizer(id, loaded, files, special)
}

/** What tokenizer_config.json says, else config.json, else GPT-2's own end of text. */
function specialId(
  role: Role,
  named: string | undefined,
  config: Readonly<Record<string, unknown>>,
  loaded: LoadedTokenizer,
): number | undefined {
  const byName = named === undefined ? undefined : loaded.tokenIds[named]
  if (byName !== undefined) return byName
  const stated = config[`${role}_token_id`]
  const byId: unknown = Array.isArray(stated) ? stated[0] : stated
  // A config.json that keeps transformers' defaults names ids beyond a smaller vocabulary.
  if (
    Number.isSafeInteger(byId) &&
    (byId as number) >= 0 &&
    (byId as number) < loaded.vocabSize
  ) {
    return byId as number
  }
  return role === 'pad' ? undefined : loaded.tokenIds[GPT2_END_OF_TEXT]
}

/** A token in tokenizer_config.json: its text, or an object with `content`. */
function tokenText(token: unknown): string | undefined {
  if (typeof token === 'string') return token
  const content: unknown =
    typeof token === 'object' && token !== null && 'content' in token
      ? token.content
      : undefined
  return typeof content === 'string' ? content : undefined
}
