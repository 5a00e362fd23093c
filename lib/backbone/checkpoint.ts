// A Hugging Face checkpoint folder's tensors by name, in one safetensors file or several. Knows no
// model.

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { LoptError } from '../errors.js'
import {
  openSafetensors,
  type SafetensorsFile,
  type SafetensorsTensorInfo,
  type Tensor,
} from '../torch/index.js'
import { convertibleFiles } from './converted-tokenizer.js'
import { readJson } from './json-file.js'

const WEIGHTS = 'model.safetensors'
const INDEX = 'model.safetensors.index.json'

// Each shard is a mapped file: a limit against an index that would use up the process's files.
const MAX_SHARDS = 1024

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) })

/** Mapped tensors of a folder: nothing is read until a tensor is used. */
export interface Checkpoint {
  readonly folder: string
  readonly names: readonly string[]
  info(name: string): SafetensorsTensorInfo
  /** On the file's own pages. */
  tensor(name: string): Tensor
  /** A copy of the stored bytes `begin`..`end` (not included) of a tensor. */
  bytes(name: string, begin: number, end: number): Uint8Array
  /** Closes the files; tensors taken from them stay valid. */
  dispose(): void
}

/**
 * Opens `model.safetensors`, or all shards that `model.safetensors.index.json` names.
 *
 * @throws LoptError `ERR_MODEL_FILE` for a missing or broken file, shards that do not hold what the
 *   index says; `ERR_UNSUPPORTED` for a folder with weights in another format.
 */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  const there = await namesIn(folder)
  if (there.includes(WEIGHTS)) {
    const file = openSafetensors(join(folder, WEIGHTS))
    return checkpointOf(folder, [file], new Map(file.names.map((name) => [name, file])))
  }
  if (there.includes(INDEX)) return await openShards(folder, there)
  throw noWeights(folder, there)
}

/** Beside the weights: what a backbone and its tokenizer are read from. */
const SMALL_FILES = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
]

/**
 * Those of a repository's files that a backbone is opened from.
 *
 * @param source names the repository in errors
 * @throws LoptError as `openCheckpoint`, before anything is downloaded.
 */
export function checkpointFiles(paths: readonly string[], source: string): string[] {
  const small = SMALL_FILES.filter((name) => paths.includes(name))
  if (!small.includes('config.json')) {
    throw new LoptError('ERR_MODEL_FILE', `${source} holds no config.json`)
  }
  if (!small.includes('tokenizer.json')) {
    const convertible = convertibleFiles(paths)
    if (convertible.length === 0) {
      throw new LoptError(
        'ERR_MODEL_FILE',
        `${source} holds neither tokenizer.json nor what one is made of: spiece.model, or vocab.json with ` +
          'merges.txt',
      )
    }
    small.push(...convertible)
  }
  if (paths.includes(WEIGHTS)) return [...small, WEIGHTS]
  if (!paths.includes(INDEX)) throw noWeights(source, paths)
  const shards = paths.filter((path) => /^model-[\w-]+\.safetensors$/.test(path))
  return [...small, INDEX, ...shards]
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new LoptError('ERR_IO', `Cannot read the folder ${folder}: ${reason}`, {
      cause,
    })
  }
}

function checkpointOf(
  folder: string,
  files: readonly SafetensorsFile[],
  holders: ReadonlyMap<string, SafetensorsFile>,
): Checkpoint {
  const holder = (name: string): SafetensorsFile => {
    const file = holders.get(name)
    if (file !== undefined) return file
    throw new LoptError('ERR_MODEL_FILE', `${folder}: there is no tensor ${name}`)
  }
  return {
    folder,
    names: [...holders.keys()],
    info: (name) => holder(name).info(name),
    tensor: (name) => holder(name).tensor(name),
    bytes: (name, begin, end) => holder(name).bytes(name, begin, end),
    dispose: () => {
      for (const file of files) file.dispose()
    },
  }
}

async function openShards(folder: string, there: readonly string[]): Promise<Checkpoint> {
  const path = join(folder, INDEX)
  const parsed = indexSchema.safeParse(await readJson(path))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: ${issue?.path.join('.')}: ${issue?.message}`,
    )
  }
  const weightMap = new Map(Object.entries(parsed.data.weight_map))
  const shards = [...new Set(weightMap.values())].sort()
  checkShardNames(path, shards, there)

  const files = new Map<string, SafetensorsFile>()
  try {
    for (const shard of shards) files.set(shard, openSafetensors(join(folder, shard)))
    const holders = new Map<string, SafetensorsFile>()
    for (const [name, shard] of weightMap) {
      const file = files.get(shard) as SafetensorsFile
      if (!file.has(name)) {
        throw new LoptError(
          'ERR_MODEL_FILE',
          `${path}: says that ${shard} holds the tensor ${name}, but it does not`,
        )
      }
      holders.set(name, file)
    }
    for (const [shard, file] of files) {
      const stray = file.names.find((name) => weightMap.get(name) !== shard)
      if (stray === undefined) continue
      throw new LoptError(
        'ERR_MODEL_FILE',
        `${file.path}: holds the tensor ${stray}, which ${INDEX} does not place there`,
      )
    }
    return checkpointOf(folder, [...files.values()], holders)
  } catch (error) {
    for (const file of files.values()) file.dispose()
    throw error
  }
}

function checkShardNames(
  path: string,
  shards: readonly string[],
  there: readonly string[],
): void {
  if (shards.length === 0 || shards.length > MAX_SHARDS) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: expected 1 to ${MAX_SHARDS} files in weight_map but found ${shards.length}`,
    )
  }
  // A name with a folder in it could reach any file of the machine.
  const outside = shards.find(
    (shard) => /[/\\]/.test(shard) || !shard.endsWith('.safetensors'),
  )
  if (outside !== undefined) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: expected names of .safetensors files in the same folder but found ${outside}`,
    )
  }
  const missing = shards.filter((shard) => !there.includes(shard))
  if (missing.length > 0) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: ${missing.length} of ${shards.length} files are missing: ${missing.join(', ')}`,
    )
  }
}

/**
 * `pytorch_model.bin` is refused on purpose: libtorch's own reader of Python's pickles reads no state
 * dict, and a small file ends the process (docs/backbone-contract.md, other weight files).
 */
function noWeights(folder: string, there: readonly string[]): LoptError {
  const other = there.find((name) =>
    /^(pytorch_model.*\.bin|.*\.(pt|pth|ckpt|h5|gguf))$/.test(name),
  )
  if (other === undefined) {
    return new LoptError(
      'ERR_MODEL_FILE',
      `${folder}: found neither ${WEIGHTS} nor ${INDEX}. A Hugging Face checkpoint folder holds one.`,
    )
  }
  return new LoptError(
    'ERR_UNSUPPORTED',
    `${folder}: the weights are in ${other}; only safetensors files are read. Python's ` +
      `transformers converts them: python -c "from transformers import AutoModelForCausalLM as M; ` +
      `M.from_pretrained('${folder}').save_pretrained('${folder}')" (of a T5: AutoModelForSeq2SeqLM)`,
  )
}
