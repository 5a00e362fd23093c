// GPT-2's tokenizer in its own files, `vocab.json` and `merges.txt`, as the tokenizer.json that transformers 5
// makes of them (GPT2Tokenizer). Knows no model and no folder.

import { LoptError } from '../errors.js'
import { parseJson } from './json-file.js'

type Content = Readonly<Record<string, unknown>>

/** What stands beside the two files; each may be missing. */
export interface TokenFiles {
  readonly 'tokenizer_config.json'?: Content | undefined
  readonly 'special_tokens_map.json'?: Content | undefined
  readonly 'added_tokens.json'?: Content | undefined
}

/** A token that is found in a text before the rest is split, as tokenizer.json has it. */
interface AddedToken {
  readonly content: string
  readonly single_word: boolean
  readonly lstrip: boolean
  readonly rstrip: boolean
  readonly normalized: boolean
  readonly special: boolean
}

type Fields = Pick<AddedToken, 'content'> & Partial<AddedToken>

/** Where only a text is given, the rest is as for a special token. */
type Given = string | AddedToken

// In this order transformers adds those that have no id yet.
const ROLES = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map(
  (role) => `${role}_token`,
)
const END_OF_TEXT = '<|endoftext|>'
/** What GPT2Tokenizer takes where no file says anything. */
const DEFAULTS: Content = {
  bos_token: END_OF_TEXT,
  eos_token: END_OF_TEXT,
  unk_token: END_OF_TEXT,
}

/**
 * The contents of a tokenizer.json and of a tokenizer_config.json that names its special tokens.
 *
 * @param vocabText of vocab.json: token to id
 * @param mergesText of merges.txt: a pair a line, the most frequent first
 * @param path names a file in errors
 * @throws LoptError `ERR_MODEL_FILE` naming the file and what is wrong in it.
 */
export function byteLevelBpe(
  vocabText: string,
  mergesText: string,
  files: TokenFiles,
  path: (name: string) => string,
): { json: string; settings: Record<string, unknown> } {
  const vocab = readVocab(vocabText, path('vocab.json'))
  const merges = readMerges(mergesText, path('merges.txt'))
  const settings = files['tokenizer_config.json'] ?? {}
  const added = withIds(vocab, tokensToAdd(files, path))
  const byteLevel = { type: 'ByteLevel', trim_offsets: true, use_regex: true }
  const json = JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { ...byteLevel, add_prefix_space: settings.add_prefix_space === true },
    post_processor: postProcessor(settings, roleTokens(files, DEFAULTS), added),
    decoder: { ...byteLevel, add_prefix_space: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  })
  const named = [...roleTokens(files, {})].map(([role, token]) => [role, textOf(token)])
  return { json, settings: { ...settings, ...Object.fromEntries(named) } }
}

function readVocab(text: string, path: string): Record<string, number> {
  const vocab = parseJson(text, path)
  for (const [token, id] of Object.entries(vocab)) {
    if (Number.isSafeInteger(id) && (id as number) >= 0) continue
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: expected ids but received ${JSON.stringify(id)} for the token ${JSON.stringify(token)}`,
    )
  }
  return vocab as Record<string, number>
}

function readMerges(text: string, path: string): string[][] {
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''))
  if (lines.at(-1) === '') lines.pop()
  return lines.flatMap((line, i) => {
    if (line.startsWith('#version')) return []
    const pair = line.split(' ')
    if (pair.length === 2) return [pair]
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}:${i + 1}: expected two tokens with a space between but received ${JSON.stringify(line)}`,
    )
  })
}

/** Special tokens by role, `bos_token` and all that end like it, in the order in which they are added. */
function roleTokens(files: TokenFiles, defaults: Content): Map<string, Given> {
  const { settings, map } = contents(files)
  const stated = { ...defaults, ...settings, ...map }
  const roles = new Map<string, Given>()
  for (const role of new Set([...ROLES, ...Object.keys(stated)])) {
    const token = role.endsWith('_token') ? given(stated[role], role in map) : undefined
    if (token !== undefined) roles.set(role, token)
  }
  return roles
}

/** A tokenizer_config.json that lists all added tokens stands for the other two files as well. */
function contents(files: TokenFiles): { settings: Content; map: Content } {
  const settings = files['tokenizer_config.json'] ?? {}
  const map = isComplete(settings) ? {} : (files['special_tokens_map.json'] ?? {})
  return { settings, map }
}

function isComplete(settings: Content): boolean {
  return settings.added_tokens_decoder !== undefined
}

/** A token in a JSON file: its text, or an object with `content`. */
function given(value: unknown, special: boolean): Given | undefined {
  if (typeof value === 'string') return value
  const hasContent =
    typeof value === 'object' &&
    value !== null &&
    'content' in value &&
    typeof value.content === 'string'
  return hasContent ? addedToken(value as Fields, special) : undefined
}

/** The `tokenizers` library's defaults where a field is absent. */
function addedToken(fields: Fields, isSpecial: boolean): AddedToken {
  const special = fields.special ?? isSpecial
  return {
    content: fields.content,
    single_word: fields.single_word ?? false,
    lstrip: fields.lstrip ?? false,
    rstrip: fields.rstrip ?? false,
    normalized: fields.normalized ?? !special,
    special,
  }
}

function textOf(token: Given): string {
  return typeof token === 'string' ? token : token.content
}

/** What is added to the vocabulary, in transformers' order: listed tokens by id, then special ones. */
function tokensToAdd(files: TokenFiles, path: (name: string) => string): AddedToken[] {
  const { settings } = contents(files)
  const extras = extraTokens(files)
  const named = [...roleTokens(files, {}).values(), ...extras].map(textOf)
  const listed = isComplete(settings)
    ? listedInSettings(settings, path('tokenizer_config.json'))
    : listedAlone(files['added_tokens.json'] ?? {}, named, path('added_tokens.json'))
  const roles = [...roleTokens(files, DEFAULTS).values()]
  const roleTexts = new Set(roles.map(textOf))
  const seen = new Set<string>()
  const listedTexts = new Set(listed.map(({ content }) => content))
  const special = [...roles, ...extras].filter((token) => {
    const key = JSON.stringify(token)
    if (listedTexts.has(textOf(token)) || seen.has(key)) return false
    seen.add(key)
    return true
  })
  return [...listed, ...special].map((token) => {
    const added = typeof token === 'string' ? addedToken({ content: token }, true) : token
    return { ...added, special: added.special || roleTexts.has(added.content) }
  })
}

/** Special tokens without a role. */
function extraTokens(files: TokenFiles): Given[] {
  const { settings, map } = contents(files)
  const tokens = (list: unknown, special: boolean) =>
    (Array.isArray(list) ? list : []).map((token) => given(token, special))
  const own = tokens(settings.extra_special_tokens, false)
  const first = own.length > 0 ? own : tokens(settings.additional_special_tokens, false)
  const all = [...first, ...tokens(map.extra_special_tokens, true)]
  const found = all.length > 0 ? all : tokens(map.additional_special_tokens, true)
  return found.filter((token) => token !== undefined)
}

/** `added_tokens_decoder`: id to token. */
function listedInSettings(settings: Content, path: string): AddedToken[] {
  const entries = Object.entries(Object(settings.added_tokens_decoder))
  return entries
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([id, value]) => {
      const token = given(value, false)
      if (typeof token === 'object') return token
      throw new LoptError(
        'ERR_MODEL_FILE',
        `${path}: added_tokens_decoder: expected a token with its content for ${id}`,
      )
    })
}

/** added_tokens.json: token to id. */
function listedAlone(
  added: Content,
  special: readonly string[],
  path: string,
): AddedToken[] {
  const entries = Object.entries(added)
  const wrong = entries.find(([, id]) => !Number.isSafeInteger(id))
  if (wrong !== undefined) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: expected ids but received ${JSON.stringify(wrong[1])} for the token ${JSON.stringify(wrong[0])}`,
    )
  }
  return entries
    .sort(([, a], [, b]) => (a as number) - (b as number))
    .map(([content]) => addedToken({ content }, special.includes(content)))
}

/**
 * A token of the vocabulary keeps its id; the others get those behind it in their order, whatever a file says
 * (the `tokenizers` library's `add_tokens`). One that comes again counts as it came last.
 */
function withIds(
  vocab: Readonly<Record<string, number>>,
  tokens: readonly AddedToken[],
): (AddedToken & { id: number })[] {
  let next = Object.keys(vocab).length
  const found = new Map<string, AddedToken & { id: number }>()
  for (const token of tokens) {
    const { content } = token
    if (content === '') continue
    const own = Object.hasOwn(vocab, content) ? vocab[content] : undefined
    const id = own ?? found.get(content)?.id ?? next
    next = Math.max(next, id + 1)
    found.set(content, { id, ...token })
  }
  return [...found.values()].sort((a, b) => a.id - b.id)
}

/** Begins and ends a text where tokenizer_config.json says so. */
function postProcessor(
  settings: Content,
  roles: ReadonlyMap<string, Given>,
  added: readonly { id: number; content: string }[],
) {
  const token = (name: 'bos' | 'eos'): string[] => {
    const stated = roles.get(`${name}_token`)
    const isPut = settings[`add_${name}_token`] === true && stated !== undefined
    return isPut ? [textOf(stated)] : []
  }
  const [begin, end] = [token('bos'), token('eos')]
  const part = (type_id: number) => (id: string) => ({ SpecialToken: { id, type_id } })
  const sequence = (id: 'A' | 'B', type_id: number) => [
    ...begin.map(part(type_id)),
    { Sequence: { id, type_id } },
    ...end.map(part(type_id)),
  ]
  const put = added.filter(({ content }) => [...begin, ...end].includes(content))
  return {
    type: 'TemplateProcessing',
    single: sequence('A', 0),
    pair: [...sequence('A', 0), ...sequence('B', 1)],
    special_tokens: Object.fromEntries(
      put.map(({ content, id }) => [
        content,
        { id: content, ids: [id], tokens: [content] },
      ]),
    ),
  }
}
