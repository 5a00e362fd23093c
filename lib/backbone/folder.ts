// A model from a Hugging Face folder: matches the stored tensors with the model's parameters, and
// compiles. Knows no model, and nothing of where a folder comes from.

import { join } from 'node:path'
import { LoptError } from '../errors.js'
import { binding } from '../torch/context.js'
import { type Tensor, tidy } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import type { Architecture } from './architecture.js'
import { architectureOf } from './architectures.js'
import { type Checkpoint, openCheckpoint } from './checkpoint.js'
import { compileBackbone } from './compile.js'
import { parseConfig } from './config.js'
import {
  BACKBONE_DTYPES,
  type Backbone,
  type BackboneConfig,
  type BackboneDType,
} from './contract.js'
import { fingerprint, fingerprintRows } from './fingerprint.js'
import { readJson } from './json-file.js'
import { endTokenIds } from './special-tokens.js'
import { loadTokenizer } from './tokenizer.js'
import { checkVocabulary } from './vocabulary.js'

/**
 * Loads the checkpoint in `folder`.
 *
 * @param options.source what the backbone says it came from
 */
export async function loadFolder(
  folder: string,
  options: { source: string; device: string; dtype: BackboneDType | undefined },
): Promise<Backbone> {
  const { source, device } = options
  const stated = await readConfig(folder)
  const tokenizer = await loadTokenizer(folder, { config: stated.raw })
  checkVocabulary(tokenizer, stated, folder)
  const generation = await readJson(join(folder, 'generation_config.json'))
  const ends = endTokenIds(
    tokenizer,
    stated.vocabSize,
    { 'generation_config.json': generation, 'config.json': stated.raw },
    (message) => {
      throw new LoptError('ERR_MODEL_FILE', `${folder}: ${message}`)
    },
  )
  const checkpoint = await openCheckpoint(folder)
  try {
    const architecture = architectureOf(stated)
    const { stored, config } = matchNames(checkpoint, architecture, stated)
    const embedding = stored.get(architecture.tokenEmbedding) as string
    const dtype = options.dtype ?? defaultDType(checkpoint, embedding, device)
    const print = storedFingerprint(checkpoint, embedding, config)
    return await tidy(async () => {
      const names = architecture.parameters(config).map(({ name }) => name)
      const parameters = await readParameters(
        checkpoint,
        new Map(names.map((name) => [name, stored.get(name) as string])),
        device,
        (name) => architecture.parameterDType(name, dtype),
      )
      return await compileBackbone({
        config,
        tokenizer,
        endTokenIds: ends,
        parameters,
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
  return parseConfig(raw, path)
}

/**
 * Parameter name to stored name, and the configuration as the tensors have it: some files say that
 * the output matrix is tied and hold another.
 *
 * @throws LoptError `ERR_MODEL_FILE` naming the tensor that is missing, unknown, stored twice, or of
 *   another shape or kind.
 */
function matchNames(
  checkpoint: Checkpoint,
  architecture: Architecture,
  stated: BackboneConfig,
): { stored: Map<string, string>; config: BackboneConfig } {
  const { folder } = checkpoint
  const { title, tokenEmbedding, outputMatrix } = architecture
  const stored = new Map<string, string>()
  const copies: string[] = []
  for (const name of checkpoint.names) {
    const plain = architecture.plainName(name)
    if (plain === undefined) continue
    // A copy of the embedding counts where the file has nothing else, and must equal it elsewhere.
    const isCopy = plain === tokenEmbedding && name !== architecture.storedName(plain)
    const twin = stored.get(plain)
    if (twin === undefined) {
      stored.set(plain, name)
    } else if (isCopy || copies.includes(twin)) {
      stored.set(plain, isCopy ? twin : name)
    } else {
      throw new LoptError(
        'ERR_MODEL_FILE',
        `${folder}: ${twin} and ${name} are the same tensor`,
      )
    }
    if (isCopy) copies.push(name)
  }
  const embedding = stored.get(tokenEmbedding)
  const output = stored.get(outputMatrix)
  const table = [stated.vocabSize, stated.hiddenSize]
  let config = stated
  if (embedding !== undefined) {
    for (const copy of [embedding, ...copies]) checkStored(checkpoint, copy, table)
    const differing = copies.find((copy) => !isSame(checkpoint, copy, embedding, stated))
    if (differing !== undefined) {
      throw new LoptError(
        'ERR_MODEL_FILE',
        `${folder}: ${differing} should be a copy of ${embedding} and is not`,
      )
    }
    if (stated.tiedHead && output !== undefined) {
      checkStored(checkpoint, output, table)
      const same = isSame(checkpoint, output, embedding, stated)
      if (!same && architecture.otherOutputMatrix === 'refuse') {
        throw otherOutput(folder, output)
      }
      config = { ...stated, tiedHead: same }
    }
  }
  const expected = architecture.parameters(config)
  for (const { name, shape } of expected) {
    const found = stored.get(name)
    if (found === undefined) {
      throw new LoptError('ERR_MODEL_FILE', `${folder}: the tensor ${name} is missing`)
    }
    checkStored(checkpoint, found, shape)
  }
  const names = new Set(expected.map(({ name }) => name))
  for (const [name, found] of stored) {
    if (names.has(name) || (name === outputMatrix && config.tiedHead)) continue
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${folder}: the tensor ${found} is not part of a ${config.layers}-layer ${title} language model`,
    )
  }
  return { stored, config }
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

/** Whether two stored tables are of one dtype and equal in the rows that the fingerprint reads. */
function isSame(
  checkpoint: Checkpoint,
  a: string,
  b: string,
  { vocabSize }: BackboneConfig,
): boolean {
  if (checkpoint.info(a).dtype !== checkpoint.info(b).dtype) return false
  const rowBytes = checkpoint.info(a).sizeBytes / vocabSize
  return fingerprintRows(vocabSize).every((row) => {
    const [begin, end] = [row * rowBytes, (row + 1) * rowBytes]
    const bytes = Buffer.from(checkpoint.bytes(a, begin, end))
    return bytes.equals(checkpoint.bytes(b, begin, end))
  })
}

function otherOutput(folder: string, output: string): LoptError {
  return new LoptError(
    'ERR_MODEL_FILE',
    `${folder}: config.json ties the output matrix to the token embedding, but the ` +
      `file holds another ${output}. Set tie_word_embeddings to false if the model has its own.`,
  )
}

/** float32 on a CPU, where half precision is slow; elsewhere what the file has. */
function defaultDType(
  checkpoint: Checkpoint,
  embedding: string,
  device: string,
): BackboneDType {
  if (device === 'cpu') return 'float32'
  return checkpoint.info(embedding).dtype as BackboneDType
}

function storedFingerprint(
  checkpoint: Checkpoint,
  name: string,
  config: BackboneConfig,
): string {
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
  dtypeOf: (name: string) => BackboneDType,
): Promise<Map<string, Tensor>> {
  const parameters = new Map<string, Tensor>()
  for (const [name, found] of stored) {
    const mapped = checkpoint.tensor(found)
    const dtype = dtypeOf(name)
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
