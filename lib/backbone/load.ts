// Where a backbone comes from: a folder, a file, the hub, or the package itself. Knows no model.

import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LoptError } from '../errors.js'
import {
  type DownloadEvent,
  downloadSnapshot,
  type SnapshotOptions,
} from '../hub/index.js'
import { packageRoot } from '../native.js'
import { kindOf } from '../torch/check.js'
import { parseDevice } from '../torch/index.js'
import { checkpointFiles } from './checkpoint.js'
import {
  type Backbone,
  type BackboneDType,
  checkBackboneDType,
  type Quantization,
} from './contract.js'
import { loadFolder } from './folder.js'
import { loadTorchScriptFile } from './torchscript-file.js'

const BUILTIN = 'builtin:'

/** What `loadBackbone` takes. */
export interface LoadBackboneOptions {
  /** `cpu` (default), `cuda`, `cuda:N`, `mps`, or `meta`: shapes and no weights. */
  device?: string | undefined
  /**
   * What to compute in. Default: float32 on a CPU, the file's own elsewhere. `int8`, on a CPU and for inference alone:
   * float32, with the weights of products in 8 bits (docs/performance.md).
   */
  dtype?: BackboneDType | Quantization | undefined
  /** Of a model id: branch, tag or commit, default `main`. */
  revision?: string | undefined
  /** What comes of a model id's download. */
  onDownload?: ((event: DownloadEvent) => void) | undefined
  /** Stops a download; it goes on from there another time. */
  signal?: AbortSignal | undefined
}

type HubOptions = Pick<SnapshotOptions, 'revision' | 'onEvent' | 'signal'>

/**
 * Opens a frozen language model. Weights whose dtype and device fit stay in the mapped file: a
 * large model opens at once, and processes share its pages. Keep the file as it is while it is
 * open; replace it by renaming, never in place.
 *
 * @example
 * const shipped = await loadBackbone('builtin:nano-gpt2')
 * const large = await loadBackbone('./gpt2-large', { device: 'cuda', dtype: 'bfloat16' })
 *
 * @param source a Hugging Face checkpoint folder (config.json, tokenizer.json or what one is made of,
 *   safetensors in one file or sharded), a `.pt` file that meets docs/backbone-contract.md (it holds code:
 *   loading one is as trusted as running a program), `builtin:NAME` for a model that ships with the package,
 *   or else a model id of the Hugging Face hub, such as `openai-community/gpt2`: its files are taken from
 *   the standard cache or downloaded into it. HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE count
 * @throws LoptError `ERR_MODEL_FILE` naming the file, field or tensor that is missing or wrong;
 *   `ERR_UNSUPPORTED` for a format, model or switch that is not supported; `ERR_DEVICE` for a
 *   device that is not there; `ERR_NETWORK` for a download that fails.
 */
export async function loadBackbone(
  source: string,
  { device = 'cpu', dtype, revision, onDownload, signal }: LoadBackboneOptions = {},
): Promise<Backbone> {
  if (typeof source !== 'string') {
    throw new TypeError(`Expected source to be a string but received ${kindOf(source)}`)
  }
  const options = {
    source,
    device: parseDevice(device),
    ...keptIn(dtype),
  }
  if (options.quantization !== null && options.device !== 'cpu') {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `dtype ${options.quantization} is for a CPU: ${options.device} computes in float32, float16 or bfloat16`,
    )
  }
  const info = await stat(source).catch(() => undefined)
  if (info?.isFile()) {
    refusePartOfFolder(source)
    return await loadTorchScriptFile(source, options)
  }
  const hub = { revision, onEvent: onDownload, signal }
  return await loadFolder(await folderOf(source, hub), options)
}

function keptIn(dtype: BackboneDType | Quantization | undefined): {
  dtype: BackboneDType | undefined
  quantization: Quantization | null
} {
  if (dtype === 'int8') return { dtype: 'float32', quantization: dtype }
  return {
    dtype: dtype === undefined ? undefined : checkBackboneDType(dtype, ['int8']),
    quantization: null,
  }
}

/** The files of a checkpoint folder make a backbone together only. */
function refusePartOfFolder(path: string): void {
  if (!/\.(safetensors|bin|json|model)$/.test(path)) return
  throw new LoptError(
    'ERR_UNSUPPORTED',
    `${path} is a part of a checkpoint folder (config.json, tokenizer.json, model.safetensors): give ` +
      'the folder',
  )
}

async function folderOf(source: string, hub: HubOptions): Promise<string> {
  if (source.startsWith(BUILTIN)) return await builtinFolder(source.slice(BUILTIN.length))
  const info = await stat(source).catch(() => undefined)
  if (info?.isDirectory()) return source
  if (/^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/.test(source)) {
    return await downloadSnapshot({
      id: source,
      select: (paths) => checkpointFiles(paths, source),
      ...hub,
    })
  }
  throw new LoptError('ERR_MODEL_FILE', `There is no folder ${source}.`)
}

async function builtinFolder(name: string): Promise<string> {
  const models = join(packageRoot(dirname(fileURLToPath(import.meta.url))), 'models')
  const entries = await readdir(models, { withFileTypes: true }).catch(() => [])
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  if (names.includes(name)) return join(models, name)
  throw new LoptError(
    'ERR_MODEL_FILE',
    `No model ${name} ships with the package. ` +
      (names.length > 0 ? `There are: ${names.join(', ')}.` : `${models} holds none.`),
  )
}
