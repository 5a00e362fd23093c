// A SentencePiece model, `spiece.model`, as the tokenizer.json that transformers 5 makes of it for T5.
// Knows no model. The file is a protocol buffer of which three fields are needed (sentencepiece_model.proto):
// its reader is shorter than what a library would ask to be told.

import { LoptError } from '../errors.js'

interface Piece {
  text: string
  score: number
}

interface SentencePieceModel {
  pieces: Piece[]
  /** 1 is Unigram. */
  modelType: number
  unknownId: number
  byteFallback: boolean
  /** How text is normalised, in the library's own compiled form; empty: not at all. */
  charsmap: Uint8Array
}

const UNIGRAM = 1
// Far above mt5's 250,000: a bound against a file that lies.
const MAX_PIECES = 2 ** 22
const MAX_EXTRA_IDS = 10_000
const DEFAULT_EXTRA_IDS = 100

/**
 * The content of a tokenizer.json.
 *
 * @param path names the file in errors
 * @param extraIds how many sentinels, `<extra_id_0>`…, come behind the pieces, as tokenizer_config.json
 *   has it
 * @throws LoptError `ERR_MODEL_FILE` for what is no SentencePiece model, `ERR_UNSUPPORTED` for one that
 *   is not Unigram.
 */
export function tokenizerJson(
  bytes: Uint8Array,
  path: string,
  extraIds: unknown = DEFAULT_EXTRA_IDS,
): string {
  const model = readModel(bytes, path)
  if (model.modelType !== UNIGRAM || model.byteFallback) {
    const kind = model.byteFallback ? 'with byte fallback' : 'that is not Unigram'
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${path}: a SentencePiece model ${kind} is not converted. Python's transformers makes a ` +
        'tokenizer.json: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)',
    )
  }
  const count = Number(extraIds)
  if (!Number.isInteger(count) || count < 0 || count > MAX_EXTRA_IDS) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: expected extra_ids in 0..${MAX_EXTRA_IDS} but received ${String(extraIds)}`,
    )
  }
  const sentinels = Array.from({ length: count }, (_, i) => `<extra_id_${count - 1 - i}>`)
  const vocab = [
    ...model.pieces.map(({ text, score }) => [text, score] as const),
    ...sentinels.map((text) => [text, 0] as const),
  ]
  const ids = new Map(vocab.map(([text], id) => [text, id]))
  const end = ids.get('</s>')
  if (end === undefined) {
    throw new LoptError('ERR_MODEL_FILE', `${path}: there is no piece </s>`)
  }
  const special = ['<pad>', '</s>', '<unk>', ...sentinels].filter((text) => ids.has(text))
  const metaspace = {
    type: 'Metaspace',
    replacement: '▁',
    prepend_scheme: 'always',
    split: true,
  }
  const sequence = (id: string) => ({ Sequence: { id, type_id: 0 } })
  const ending = { SpecialToken: { id: '</s>', type_id: 0 } }
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content) => ({
      id: ids.get(content),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer:
      model.charsmap.length === 0
        ? null
        : {
            type: 'Precompiled',
            precompiled_charsmap: Buffer.from(model.charsmap).toString('base64'),
          },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace],
    },
    post_processor: {
      type: 'TemplateProcessing',
      single: [sequence('A'), ending],
      pair: [sequence('A'), ending, sequence('B'), ending],
      special_tokens: { '</s>': { id: '</s>', ids: [end], tokens: ['</s>'] } },
    },
    decoder: metaspace,
    model: { type: 'Unigram', unk_id: model.unknownId, vocab, byte_fallback: false },
  })
}

function readModel(bytes: Uint8Array, path: string): SentencePieceModel {
  const model: SentencePieceModel = {
    pieces: [],
    modelType: UNIGRAM,
    unknownId: 0,
    byteFallback: false,
    charsmap: new Uint8Array(),
  }
  const seen = new Set<number>()
  try {
    for (const { field, value } of fields(bytes)) {
      seen.add(field)
      if (field === 1) model.pieces.push(readPiece(message(value)))
      if (field === 2) readTrainerSpec(message(value), model)
      if (field === 3) {
        const spec = [...fields(message(value))]
        const charsmap = spec.find((one) => one.field === 2)
        if (charsmap !== undefined) model.charsmap = message(charsmap.value)
      }
      if (model.pieces.length > MAX_PIECES) throw new RangeError('too many pieces')
    }
    if (model.pieces.length === 0) throw new RangeError('it holds no pieces')
    // They come last: without them the file was cut between two pieces.
    if (!seen.has(2) || !seen.has(3)) throw new RangeError('it ends before its settings')
    if (model.unknownId >= model.pieces.length) throw new RangeError('no unknown piece')
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: not a SentencePiece model: ${reason}`,
      {
        cause,
      },
    )
  }
  return model
}

function readPiece(bytes: Uint8Array): Piece {
  const piece: Piece = { text: '', score: 0 }
  for (const { field, value } of fields(bytes)) {
    if (field === 1) piece.text = utf8.decode(message(value))
    if (field === 2) {
      const four = message(value)
      piece.score = new DataView(four.buffer, four.byteOffset, 4).getFloat32(0, true)
    }
  }
  return piece
}

function readTrainerSpec(bytes: Uint8Array, model: SentencePieceModel): void {
  for (const { field, value } of fields(bytes)) {
    if (field === 3) model.modelType = Number(value)
    if (field === 35) model.byteFallback = Number(value) !== 0
    if (field === 40) model.unknownId = Number(value)
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Bytes of a nested message, a string or a fixed number. */
function message(value: number | Uint8Array): Uint8Array {
  if (typeof value === 'number') throw new RangeError('a number where bytes belong')
  return value
}

/** A message's fields in their order: a number, or the bytes of anything else. */
function* fields(
  bytes: Uint8Array,
): IterableIterator<{ field: number; value: number | Uint8Array }> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at++]
      if (byte === undefined) throw new RangeError('it ends inside a number')
      value += (byte & 0x7f) * 2 ** shift // no shifts: they would be cut to 32 bits
      if (byte < 0x80) return value
    }
    throw new RangeError('a number without end')
  }
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) throw new RangeError('it ends inside a field')
    at += length
    return bytes.subarray(at - length, at)
  }
  while (at < bytes.length) {
    const key = varint()
    const [field, wire] = [Math.floor(key / 8), key % 8]
    if (wire === 0) yield { field, value: varint() }
    else if (wire === 1) yield { field, value: take(8) }
    else if (wire === 2) yield { field, value: take(varint()) }
    else if (wire === 5) yield { field, value: take(4) }
    else throw new RangeError(`a field of the unknown kind ${wire}`)
  }
}
