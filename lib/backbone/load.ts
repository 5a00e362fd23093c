// Where a backbone comes from: a folder, or a model that ships with the package. Knows no model.

import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LoptError } from '../errors.js'
import { packageRoot } from '../native.js'
import { kindOf } from '../torch/check.js'
import { parseDevice } from '../torch/index.js'
import { type Backbone, type BackboneDType, checkBackboneDType } from './contract.js'
import { loadFolder } from './folder.js'
import { loadTorchScriptFile } from './torchscript-file.js'

const BUILTIN = 'builtin:'

export interface LoadBackboneOptions {
  /** `cpu` (default), `cuda`, `cuda:N` or `mps`. */
  device?: string | undefined
  /** What to compute in. Default: float32 on a CPU, the file's own elsewhere. */
  dtype?: BackboneDType | undefined
}

/**
 * Opens a frozen language model. Weights whose dtype and device fit stay in the mapped file: a
 * large model opens at once, and processes share its pages. Keep the file as it is while it is
 * open; replace it by renaming, never in place.
 *
 * @param source a Hugging Face checkpoint folder (config.json, tokenizer.json, safetensors in one
 *   file or sharded), a `.pt` file that meets docs/backbone-contract.md (it holds code: loading one is
 *   as trusted as running a program), or `builtin:NAME` for a model that ships with the package
 * @throws LoptError `ERR_MODEL_FILE` naming the file, field or tensor that is missing or wrong;
 *   `ERR_UNSUPPORTED` for a format, model or switch that is not supported; `ERR_DEVICE` for a
 *   device that is not there.
 */
export async function loadBackbone(
  source: string,
  { device = 'cpu', dtype }: LoadBackboneOptions = {},
): Promise<Backbone> {
  if (typeof source !== 'string') {
    throw new TypeError(`Expected source to be a string but received ${kindOf(source)}`)
  }
  const options = {
    source,
    device: parseDevice(device),
    dtype: dtype === undefined ? undefined : checkBackboneDType(dtype),
  }
  const info = await stat(source).catch(() => undefined)
  if (info?.isFile()) {
    refusePartOfFolder(source)
    return await loadTorchScriptFile(source, options)
  }
  return await loadFolder(await folderOf(source), options)
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

async function folderOf(source: string): Promise<string> {
  if (source.startsWith(BUILTIN)) return await builtinFolder(source.slice(BUILTIN.length))
  const info = await stat(source).catch(() => undefined)
  if (info?.isDirectory()) return source
  const looksLikeId = /^[\w.-]+(\/[\w.-]+)?$/.test(source) && !source.startsWith('.')
  throw new LoptError(
    'ERR_MODEL_FILE',
    `There is no folder ${source}.` +
      (looksLikeId
        ? ' If it is a model id of the Hugging Face hub: this version does not download. Run ' +
          `\`hf download ${source} --local-dir DIR\` and give DIR.`
        : ''),
  )
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
