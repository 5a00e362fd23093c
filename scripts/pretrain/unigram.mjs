// Trains a Unigram tokenizer, T5's kind, and writes Hugging Face's tokenizer.json. Knows nothing of
// the model.

import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import {
  metaspacePreTokenizer,
  nfkcNormalizer,
  nmt,
  replace,
  sequenceNormalizer,
  Tokenizer,
  Unigram,
} from 'tokenizers'

export const PAD = '<pad>'
export const END = '</s>'
const UNKNOWN = '<unk>'
const SENTINELS = 100

/** The sentinels that stand for what is left out of a text: `<extra_id_0>` first. */
export const sentinel = (i) => `<extra_id_${i}>`

/**
 * Trains on the lines of `textFile` and writes `file`, laid out as T5's: padding 0, end 1, unknown 2,
 * the pieces with their log-probabilities, then the 100 sentinels, `<extra_id_0>` last.
 *
 * The binding's trainer makes 8,000 pieces. Special tokens are no pieces: text that spells one does
 * not get its id.
 */
export async function trainUnigram({ textFile, file }) {
  const trainer = new Tokenizer(Unigram.init([], {}))
  trainer.setNormalizer(
    sequenceNormalizer([nmt(), nfkcNormalizer(), replace(' {2,}', ' ')]),
  )
  trainer.setPreTokenizer(metaspacePreTokenizer('▁', 'always'))
  trainer.train([textFile])
  const trained = `${file}.full`
  trainer.save(trained)
  const { model } = JSON.parse(await readFile(trained, 'utf8'))
  await rm(trained)

  const special = [PAD, END, UNKNOWN]
  const pieces = model.vocab.filter(([piece]) => !special.includes(piece))
  const sentinels = Array.from({ length: SENTINELS }, (_, i) =>
    sentinel(SENTINELS - 1 - i),
  )
  const vocab = [
    ...special.map((token) => [token, 0]),
    ...pieces,
    ...sentinels.map((token) => [token, 0]),
  ]
  const idOf = new Map(vocab.map(([token], id) => [token, id]))
  const added = [...special, ...sentinels].map((content) => ({
    id: idOf.get(content),
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }))
  const metaspace = {
    type: 'Metaspace',
    replacement: '▁',
    prepend_scheme: 'always',
    split: true,
  }
  const end = { SpecialToken: { id: END, type_id: 0 } }
  const sequence = (id) => ({ Sequence: { id, type_id: 0 } })
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Nmt' },
        { type: 'NFKC' },
        { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
      ],
    },
    pre_tokenizer: metaspace,
    post_processor: {
      type: 'TemplateProcessing',
      single: [sequence('A'), end],
      pair: [sequence('A'), end, sequence('B'), end],
      special_tokens: { [END]: { id: END, ids: [idOf.get(END)], tokens: [END] } },
    },
    decoder: metaspace,
    model: { type: 'Unigram', unk_id: idOf.get(UNKNOWN), vocab, byte_fallback: false },
  }
  await writeFile(`${file}.part`, `${JSON.stringify(json)}\n`)
  await rename(`${file}.part`, file)
}
