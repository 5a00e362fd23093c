// A GPT-2 from a Hugging Face folder: matches the stored tensors with the model's parameters, and
// compiles. Knows nothing of where a folder comes from.

import { join } from 'node:path'
import { LoptError } from '../errors.js'
import { binding } from '../torch/context.js'
import { ScriptModule, type Tensor, tidy } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import { causalBackbone } from './causal.js'
import { type Checkpoint, openCheckpoint } from './checkpoint.js'
import {
  BACKBONE_DTYPES,
  type BackboneConfig,
  type BackboneDType,
  type CausalBackbone,
  type Tokenizer,
} from './contract.js'
import { fingerprint, fingerprintRows } from './fingerprint.js'
import { parseGpt2Config } from './gpt2/config.js'
import {
  gpt2Module,
  gpt2Parameters,
  isStoredMask,
  NAME_PREFIX,
  OUTPUT_MATRIX,
  TOKEN_EMBEDDING,
} from './gpt2/gpt2.js'
import { readJson } from './json-file.js'
import { loadTokenizer } from './tokenizer.js'

/**
 * Loads the checkpoint in `folder`.
 *
 * @param options.source what the backbone says it came from
 */
export async function loadFolder(
  folder: string,
  options: { source: string; device: string; dtype: BackboneDType | undefined },
): Promise<CausalBackbone> {
  const { source, device } = options
  const config = await readConfig(folder)
  const tokenizer = await loadTokenizer(folder, { config: config.raw })
  checkVocabulary(tokenizer, config, folder)
  const checkpoint = await openCheckpoint(folder)
  try {
    const stored = matchNames(checkpoint, config)
    const dtype = options.dtype ?? defaultDType(checkpoint, stored, device)
    const print = storedFingerprint(checkpoint, stored, config)
    return await tidy(async () => {
      const names = gpt2Parameters(config).map(({ name }) => name)
      const parameters = await readParameters(
        checkpoint,
        new Map(names.map((name) => [name, stored.get(name) as string])),
        device,
        dtype,
      )
      const module = await ScriptModule.compile(
        gpt2Module(config, (name) => parameters.get(name) as Tensor),
      )
      return await causalBackbone({
        module,
        config,
        tokenizer,
        parameters,
        tokenEmbedding: TOKEN_EMBEDDING,
        device,
        dtype,
        fingerprint: print,
        source,
      })
    })
  } finally {
    checkpoint.dispose()
  }
}

async function readConfig(folder: string): Promise<BackboneConfig> {
  const path = join(folder, 'config.json')
  const raw = await readJson(path)
  if (raw === undefined) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${folder}: there is no config.json. A Hugging Face checkpoint folder holds one.`,
    )
  }
  const modelType = raw.model_type
  if (typeof modelType !== 'string') {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: model_type: expected a name such as "gpt2"`,
    )
  }
  if (modelType !== 'gpt2') {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${path}: model_type: ${modelType} is not supported; this version has gpt2`,
    )
  }
  return parseGpt2Config(raw, path)
}

/** @throws LoptError `ERR_MODEL_FILE` when a tokenizer has ids that the model has no row for. */
export function checkVocabulary(
  tokenizer: Tokenizer,
  config: BackboneConfig,
  where: string,
): void {
  if (tokenizer.vocabSize <= config.vocabSize) return
  throw new LoptError(
    'ERR_MODEL_FILE',
    `${where}: the tokenizer has ids up to ${tokenizer.vocabSize - 1}, but the model's vocab_size ` +
      `is ${config.vocabSize}: they do not belong together`,
  )
}

/**
 * Parameter name to stored name.
 *
 * @throws LoptError `ERR_MODEL_FILE` naming the tensor that is missing, unknown, stored twice, or of
 *   another shape or kind.
 */
function matchNames(checkpoint: Checkpoint, config: BackboneConfig): Map<string, string> {
  const { folder } = checkpoint
  const stored = new Map<string, string>()
  for (const name of checkpoint.names) {
    const plain = name.startsWith(NAME_PREFIX) ? name.slice(NAME_PREFIX.length) : name
    if (isStoredMask(plain)) continue
    const twin = stored.get(plain)
    if (twin !== undefined) {
      throw new LoptError(
        'ERR_MODEL_FILE',
        `${folder}: ${twin} and ${name} are the same tensor`,
      )
    }
    stored.set(plain, name)
  }
  const expected = gpt2Parameters(config)
  for (const { name, shape } of expected) {
    const found = stored.get(name)
    if (found === undefined) {
      throw new LoptError('ERR_MODEL_FILE', `${folder}: the tensor ${name} is missing`)
    }
    checkStored(checkpoint, found, shape)
  }
  const names = new Set(expected.map(({ name }) => name))
  for (const [name, found] of stored) {
    if (names.has(name)) continue
    if (config.tiedHead && name === OUTPUT_MATRIX) {
      checkTied(checkpoint, found, stored.get(TOKEN_EMBEDDING) as string, config)
      continue
    }
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${folder}: the tensor ${found} is not part of a ${config.layers}-layer GPT-2 language model`,
    )
  }
  return stored
}

function checkStored(
  checkpoint: Checkpoint,
  name: string,
  shape: readonly number[],
): void {
  const info = checkpoint.info(name)
  const same =
    info.shape.length === shape.length && shape.every((size, i) => info.shape[i] === size)
  if (!same) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${checkpoint.folder}: the tensor ${name} is [${info.shape.join(', ')}], but config.json ` +
        `makes it [${shape.join(', ')}]`,
    )
  }
  if (!BACKBONE_DTYPES.includes(info.dtype as BackboneDType)) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${checkpoint.folder}: the tensor ${name} is ${info.dtype}; these are read: ` +
        `${BACKBONE_DTYPES.join(', ')}`,
    )
  }
}

/** A file may store a tied output matrix once more; it must then be the token embedding. */
function checkTied(
  checkpoint: Checkpoint,
  output: string,
  embedding: string,
  config: BackboneConfig,
): void {
  checkStored(checkpoint, output, [config.vocabSize, config.hiddenSize])
  const rowBytes = checkpoint.info(output).sizeBytes / config.vocabSize
  const sameDType = checkpoint.info(output).dtype === checkpoint.info(embedding).dtype
  const differs = fingerprintRows(config.vocabSize).some((row) => {
    const [begin, end] = [row * rowBytes, (row + 1) * rowBytes]
    const bytes = Buffer.from(checkpoint.bytes(output, begin, end))
    return !bytes.equals(checkpoint.bytes(embedding, begin, end))
  })
  if (sameDType && !differs) return
  throw new LoptError(
    'ERR_MODEL_FILE',
    `${checkpoint.folder}: config.json ties the output matrix to the token embedding, but the ` +
      `file holds another ${output}. Set tie_word_embeddings to false if the model has its own.`,
  )
}

/** float32 on a CPU, where half precision is slow; elsewhere what the file has. */
function defaultDType(
  checkpoint: Checkpoint,
  stored: ReadonlyMap<string, string>,
  device: string,
): BackboneDType {
  if (device === 'cpu') return 'float32'
  return checkpoint.info(stored.get(TOKEN_EMBEDDING) as string).dtype as BackboneDType
}

function storedFingerprint(
  checkpoint: Checkpoint,
  stored: ReadonlyMap<string, string>,
  config: BackboneConfig,
): string {
  const name = stored.get(TOKEN_EMBEDDING) as string
  const { dtype, sizeBytes } = checkpoint.info(name)
  const rowBytes = sizeBytes / config.vocabSize
  return fingerprint(config, {
    dtype,
    rows: config.vocabSize,
    row: (index) => checkpoint.bytes(name, index * rowBytes, (index + 1) * rowBytes),
  })
}

/** One tensor at a time: what has to be converted is never there twice as a whole. */
async function readParameters(
  checkpoint: Checkpoint,
  stored: ReadonlyMap<string, string>,
  device: string,
  dtype: BackboneDType,
): Promise<Map<string, Tensor>> {
  const parameters = new Map<string, Tensor>()
  for (const [name, found] of stored) {
    const mapped = checkpoint.tensor(found)
    if (mapped.dtype === dtype && mapped.device === device) {
      parameters.set(name, mapped)
      continue
    }
    parameters.set(
      name,
      wrap(await binding().jobs.to(handleOf(mapped), dtype, device, false)),
    )
    mapped.dispose()
  }
  return parameters
}
