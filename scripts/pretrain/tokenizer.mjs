// Trains a byte-level BPE tokenizer, GPT-2's kind, and writes Hugging Face's tokenizer.json.
// Knows nothing of the model.

import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { BPE, byteLevelAlphabet, byteLevelPreTokenizer, Tokenizer } from 'tokenizers'

export const END_OF_TEXT = '<|endoftext|>'

/**
 * Trains on the lines of `textFile` and writes `file`, with `vocabSize` tokens: the end-of-text
 * token, the 256 bytes, and merges.
 *
 * The binding's trainer has one fixed size, far above ours. Merges are learned one after the other,
 * so the first ones of a longer training are those of a shorter.
 */
export async function trainTokenizer({ textFile, file, vocabSize }) {
  const trainer = new Tokenizer(BPE.empty())
  trainer.setPreTokenizer(byteLevelPreTokenizer(false))
  trainer.train([textFile])
  const trained = `${file}.full`
  trainer.save(trained)
  const { model } = JSON.parse(await readFile(trained, 'utf8'))
  await rm(trained)

  const tokens = [END_OF_TEXT, ...byteLevelAlphabet().sort()]
  const known = new Set(tokens)
  const merges = []
  for (const merge of model.merges) {
    if (tokens.length === vocabSize) break
    const [left, right] = Array.isArray(merge) ? merge : merge.split(' ')
    merges.push([left, right])
    if (!known.has(left + right)) {
      known.add(left + right)
      tokens.push(left + right)
    }
  }
  if (tokens.length < vocabSize) {
    throw new Error(
      `The text gives only ${tokens.length} of the ${vocabSize} tokens asked for`,
    )
  }
  const special = {
    id: 0,
    content: END_OF_TEXT,
    single_word: false,
    lstrip: false,
    rstrip: false,
  }
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [{ ...special, normalized: false, special: true }],
    normalizer: null,
    pre_tokenizer: {
      type: 'ByteLevel',
      add_prefix_space: false,
      trim_offsets: true,
      use_regex: true,
    },
    post_processor: {
      type: 'ByteLevel',
      add_prefix_space: true,
      trim_offsets: false,
      use_regex: true,
    },
    decoder: {
      type: 'ByteLevel',
      add_prefix_space: true,
      trim_offsets: true,
      use_regex: true,
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  }
  await writeFile(`${file}.part`, `${JSON.stringify(json)}\n`)
  await rename(`${file}.part`, file)
}
