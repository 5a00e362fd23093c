// The special tokens of a model as config.json and generation_config.json have them: which ones end a text, and
// what is written of them. Knows no file.

import type { Backbone, Tokenizer } from './contract.js'

type Content = Readonly<Record<string, unknown>> | undefined

/**
 * The tokens that end a generated text: those that the first file with an `eos_token_id` says, or the
 * tokenizer's own where none does. Ids that the model has no row for never come and are left out; transformers
 * keeps them, to the same effect. One id without a row is taken for transformers' default (50256 beside a small
 * vocabulary) and says nothing.
 *
 * @param contents by name of file, that of generation_config.json before that of config.json
 * @param refuse throws for what is no id
 */
export function endTokenIds(
  tokenizer: Tokenizer,
  vocabSize: number,
  contents: Readonly<Record<string, Content>>,
  refuse: (message: string) => never,
): readonly number[] {
  const [name, stated] =
    Object.entries(contents)
      .map(([name, content]) => [name, content?.eos_token_id ?? null] as const)
      .find(([, ends]) => ends !== null) ?? []
  if (stated === undefined) return ownEnd(tokenizer, vocabSize)
  const listed: readonly unknown[] = Array.isArray(stated) ? stated : [stated]
  const ids = listed.map((id) => {
    if (Number.isSafeInteger(id)) return id as number
    const received = JSON.stringify(id)
    return refuse(`${name}: eos_token_id: expected token ids but received ${received}`)
  })
  const ends = [...new Set(ids)].filter((id) => id >= 0 && id < vocabSize)
  const isDefault = ends.length === 0 && !Array.isArray(stated)
  return isDefault ? ownEnd(tokenizer, vocabSize) : ends
}

function ownEnd({ eosTokenId: end }: Tokenizer, vocabSize: number): readonly number[] {
  return end !== undefined && end < vocabSize ? [end] : []
}

/** Fields of config.json. */
export function storedSpecialTokens({ tokenizer }: Backbone): Record<string, unknown> {
  return {
    bos_token_id: tokenizer.bosTokenId ?? null,
    eos_token_id: tokenizer.eosTokenId ?? null,
    pad_token_id: tokenizer.padTokenId ?? null,
  }
}

/** Fields of generation_config.json, where a list of tokens that end a text has its place. */
export function generationConfig(backbone: Backbone): Record<string, unknown> {
  const { config, tokenizer, endTokenIds: ends } = backbone
  const own = ownEnd(tokenizer, config.vocabSize)
  const isOwn = ends.length === own.length && ends.every((id, i) => id === own[i])
  return {
    _from_model_config: true,
    ...storedSpecialTokens(backbone),
    ...(!isOwn && { eos_token_id: [...ends] }),
    ...(config.modelType !== 'gpt2' && {
      decoder_start_token_id: config.decoderStartTokenId,
    }),
  }
}
