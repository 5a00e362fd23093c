// A model from a Hugging Face folder: reads its configuration, tokenizer and parameters, and compiles.
// Knows no model, and nothing of where a folder comes from.

import { join } from 'node:path'
import { LoptError } from '../errors.js'
import { releaseMemory, type Tensor, tidy } from '../torch/index.js'
import type { Architecture } from './architecture.js'
import { architectureOf } from './architectures.js'
import { type Checkpoint, openCheckpoint } from './checkpoint.js'
import { compileBackbone } from './compile.js'
import { parseConfig } from './config.js'
import type { Backbone, BackboneConfig, BackboneDType, Quantization } from './contract.js'
import { fingerprint } from './fingerprint.js'
import { inInt8, isKeptInInt8 } from './int8.js'
import { readJson } from './json-file.js'
import { onDevice } from './on-device.js'
import { endTokenIds } from './special-tokens.js'
import { matchNames } from './stored-names.js'
import { loadTokenizer } from './tokenizer.js'
import { checkVocabulary } from './vocabulary.js'

/**
 * Loads the checkpoint in `folder`.
 *
 * @param options.source what the backbone says it came from
 */
export async function loadFolder(
  folder: string,
  options: {
    source: string
    device: string
    dtype: BackboneDType | undefined
    quantization: Quantization | null
  },
): Promise<Backbone> {
  const { source, device, quantization } = options
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
      const isInt8 = (name: string) =>
        quantization !== null && isKeptInInt8(architecture, name)
      const found = (name: string) => [name, stored.get(name) as string] as const
      const parameters = await readParameters(
        checkpoint,
        new Map(names.filter((name) => !isInt8(name)).map(found)),
        device,
        { architecture, dtype },
      )
      if (quantization !== null) {
        const inBits = new Map(names.filter(isInt8).map(found))
        // A tied output matrix is the embedding.
        if (config.tiedHead) inBits.set(architecture.outputMatrix, embedding)
        const read = await readInInt8(folder, inBits, architecture)
        for (const entry of read) parameters.set(...entry)
      }
      return await compileBackbone({
        config,
        tokenizer,
        endTokenIds: ends,
        parameters,
        device,
        dtype,
        quantization,
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

/** Those whose dtype and device fit stay on the file's pages. */
async function readParameters(
  checkpoint: Checkpoint,
  stored: ReadonlyMap<string, string>,
  device: string,
  kept: { architecture: Architecture; dtype: BackboneDType },
): Promise<Map<string, Tensor>> {
  function* weights() {
    for (const [name, found] of stored) {
      const dtype = kept.architecture.parameterDType(name, kept.dtype)
      yield { name, tensor: checkpoint.tensor(found), dtype }
    }
  }
  return await onDevice(weights(), device)
}

/**
 * Weights that are kept in 8 bits. They are read from a mapping of their own, whose pages go when it is closed: the
 * weights that stay in the file would keep them in memory.
 */
async function readInInt8(
  folder: string,
  stored: ReadonlyMap<string, string>,
  architecture: Architecture,
): Promise<Map<string, Tensor>> {
  const checkpoint = await openCheckpoint(folder)
  try {
    const parameters = new Map<string, Tensor>()
    for (const [name, found] of stored) {
      const mapped = checkpoint.tensor(found)
      for (const entry of await inInt8(architecture, name, mapped)) {
        parameters.set(...entry)
      }
      mapped.dispose()
    }
    releaseMemory() // of the turned matrices
    return parameters
  } finally {
    checkpoint.dispose()
  }
}
