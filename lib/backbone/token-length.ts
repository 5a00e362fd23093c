// How much of a text a token can stand for, from a tokenizer.json's vocabulary. Knows no thread.

import { z } from 'zod'

const named = z.object({ type: z.string() })
const splits = named.extend({ behavior: z.string().optional() })
const schema = z.object({
  normalizer: z.null().optional(),
  pre_tokenizer: z.union([
    named.extend({ type: z.literal('ByteLevel') }),
    named.extend({ type: z.literal('Sequence'), pretokenizers: z.array(splits) }),
  ]),
  model: z.object({ type: z.literal('BPE'), vocab: z.record(z.string(), z.number()) }),
  added_tokens: z
    .array(
      z.object({
        content: z.string(),
        lstrip: z.literal(false).optional(),
        rstrip: z.literal(false).optional(),
      }),
    )
    .default([]),
})

// GPT-2's: printable bytes stand for themselves, the others for the characters from U+0100 on.
const PRINTABLE = [
  [0x21, 0x7e],
  [0xa1, 0xac],
  [0xae, 0xff],
] as const
const isPrintable = (byte: number) =>
  PRINTABLE.some(([first, last]) => byte >= first && byte <= last)

/**
 * Characters (UTF-16 units) of a text that a token stands for at most; Infinity where nothing bounds them.
 *
 * In byte-level BPE each character of a token is a byte of the text, and a UTF-16 unit is a byte at least. Nothing of a text may
 * get lost: a normalizer, a splitter that removes, an added token that takes the white space beside it, a byte without a token
 * (which is left out, or merged with others into an unknown token) could take text of any length without a token of its own. So
 * there is no bound for a SentencePiece vocabulary, as T5's.
 */
export function charactersPerToken(json: string): number {
  const read = schema.safeParse(JSON.parse(json))
  if (!read.success) return Number.POSITIVE_INFINITY
  const { pre_tokenizer: split, model, added_tokens: added } = read.data
  const parts = 'pretokenizers' in split ? split.pretokenizers : [split]
  const keepsAll = parts.every((part) => {
    const { type, behavior } = part as z.infer<typeof splits>
    return type === 'ByteLevel' || (type === 'Split' && behavior !== 'Removed')
  })
  const isByteLevel = parts.some(({ type }) => type === 'ByteLevel')
  if (
    !isByteLevel ||
    !keepsAll ||
    !byteCharacters().every((one) => Object.hasOwn(model.vocab, one))
  ) {
    return Number.POSITIVE_INFINITY
  }
  const tokens = [...Object.keys(model.vocab), ...added.map(({ content }) => content)]
  return tokens.reduce((most, { length }) => Math.max(most, length), 1)
}

/** What each of 256 bytes is written as. */
function byteCharacters(): string[] {
  let others = 0
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(isPrintable(byte) ? byte : 0x100 + others++),
  )
}
