// What stands for tokenizer.json in a folder that has none: it is made of a SentencePiece model or of GPT-2's own
// files. Knows which files those are, not what is in them.

import { join } from 'node:path'
import { LoptError } from '../errors.js'
import { byteLevelBpe } from './byte-level-bpe.js'
import { readBytes, readJson, readText } from './json-file.js'
import { tokenizerJson } from './sentencepiece.js'

// The largest public vocabularies take about 40 MB; more would be no tokenizer.
export const MAX_TOKENIZER_BYTES = 512 * 2 ** 20

const SENTENCEPIECE = 'spiece.model'
const BYTE_LEVEL_BPE = ['vocab.json', 'merges.txt']
const ADDED_TOKENS = 'added_tokens.json'

/** Classes of transformers that `vocab.json` and `merges.txt` are read as; others split texts otherwise. */
const GPT2_CLASSES = ['GPT2Tokenizer', 'GPT2TokenizerFast']

type Content = Readonly<Record<string, unknown>>

interface Converted {
  json: string
  /** tokenizer_config.json, completed. */
  settings: Content | undefined
  /** Names what it was made of in errors. */
  origin: string
}

/**
 * Those of a repository's files that a tokenizer.json is made of; none where it has not all that is needed.
 */
export function convertibleFiles(paths: readonly string[]): string[] {
  if (paths.includes(SENTENCEPIECE)) return [SENTENCEPIECE]
  if (!BYTE_LEVEL_BPE.every((name) => paths.includes(name))) return []
  return [...BYTE_LEVEL_BPE, ADDED_TOKENS].filter((name) => paths.includes(name))
}

/**
 * @param settings tokenizer_config.json's content
 * @param config config.json's
 * @throws LoptError `ERR_MODEL_FILE` where there is nothing to make it of, or a file is wrong;
 *   `ERR_UNSUPPORTED` for a kind that is not converted.
 */
export async function convertedTokenizer(
  folder: string,
  settings: Content | undefined,
  config: Content,
): Promise<Converted> {
  const path = (name: string) => join(folder, name)
  const model = await readBytes(path(SENTENCEPIECE), MAX_TOKENIZER_BYTES)
  if (model !== undefined) {
    const origin = path(SENTENCEPIECE)
    const json = tokenizerJson(model, origin, settings?.extra_ids ?? undefined)
    return { json, settings, origin }
  }
  const [vocab, merges] = await Promise.all(
    BYTE_LEVEL_BPE.map((name) => readText(path(name), MAX_TOKENIZER_BYTES)),
  )
  if (vocab === undefined || merges === undefined) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `There is no tokenizer.json in ${folder}, and neither a ${SENTENCEPIECE} nor ` +
        `${BYTE_LEVEL_BPE.join(' with ')} to make one of. ${adviceFor(folder)}`,
    )
  }
  checkClass(folder, settings, config)
  const files = {
    'tokenizer_config.json': settings,
    'special_tokens_map.json': await readJson(path('special_tokens_map.json')),
    [ADDED_TOKENS]: await readJson(path(ADDED_TOKENS)),
  }
  const made = byteLevelBpe(vocab, merges, files, path)
  // Where no file names a token there is nothing to keep.
  const isNamed = Object.keys(made.settings).length > 0
  return {
    json: made.json,
    settings: isNamed ? made.settings : undefined,
    origin: BYTE_LEVEL_BPE.map(path).join(' with '),
  }
}

/** A class that is named counts, else the kind of model decides, as for transformers' AutoTokenizer. */
function checkClass(
  folder: string,
  settings: Content | undefined,
  config: Content,
): void {
  const named = settings?.tokenizer_class ?? config.tokenizer_class
  if (GPT2_CLASSES.includes(named as string)) return
  const modelType = config.model_type ?? 'gpt2'
  if ((named ?? undefined) === undefined && modelType === 'gpt2') return
  const kind = typeof named === 'string' ? named : `${String(modelType)}'s tokenizer`
  throw new LoptError(
    'ERR_UNSUPPORTED',
    `${folder}: ${BYTE_LEVEL_BPE.join(' and ')} are read as GPT-2's, but this is ${kind}. ` +
      adviceFor(folder),
  )
}

function adviceFor(folder: string): string {
  return (
    'Python\'s transformers makes a tokenizer.json: python -c "from transformers import AutoTokenizer as T; ' +
    `T.from_pretrained('${folder}').save_pretrained('${folder}')"`
  )
}
