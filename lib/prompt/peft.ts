// Prompts to and from PEFT's adapter folders: adapter_config.json and adapter_model.safetensors with the
// one tensor `prompt_embeddings`, as peft 0.21.0 writes and reads them.

import { join, resolve } from 'node:path'
import { makeFolder, writeFileAtomic } from '../atomic-file.js'
import type { Backbone } from '../backbone/index.js'
import { checkMade, LoptError } from '../errors.js'
import { packageVersion } from '../native.js'
import { type Tensor, tidy, writeSafetensors } from '../torch/index.js'
import type { PromptTask } from './config.js'
import { checkFit, checkTrainedOn, keyValueShape } from './fit.js'
import type { LoadPromptOptions } from './load-prompt.js'
import {
  CONFIG_FILE,
  LOPT_FILE,
  type LoptJson,
  readAdapterConfig,
  readLoptJson,
  sortedJson,
  TASK_TYPES,
  WEIGHTS_FILE,
} from './peft-config.js'
import { checkAdapter, prefixPairs } from './peft-fit.js'
import {
  joinPairs,
  pairsFor,
  readEmbeddings,
  splitPairs,
  TENSOR,
} from './peft-weights.js'
import type { Prompt, PromptAbout } from './prompt.js'
import { factorised, fullPrompt, prefixPrompt, vectorsOf } from './vectors.js'

const FORMAT_OF = '0.21.0'

/** What `exportPeft` takes. */
export interface ExportPeftOptions {
  /**
   * What PEFT notes as the base model: a folder or model id that transformers opens. Default: the
   * backbone's source, where it is one.
   */
  baseModel?: string | undefined
}

/**
 * Writes a prompt as an adapter folder that `PeftModel.from_pretrained` opens, float32: its X [P, H] as
 * PROMPT_TUNING, or the keys and values of `prefix` as PREFIX_TUNING. Each file is whole or not there; in
 * a new folder adapter_config.json comes last, so that an interrupted export is no adapter. lopt.json
 * keeps what PEFT has no place for.
 *
 * @example
 * await exportPeft('topics-adapter', prompt, backbone) // opened by PeftModel.from_pretrained
 *
 * @param folder made if it is not there
 * @throws LoptError `ERR_UNSUPPORTED` for a prompt that does not stand before the text, or is more than
 *   vectors among the tokens or a prefix; `ERR_PROMPT_FILE` for a backbone that the prompt was not made for; `ERR_IO`.
 */
export async function exportPeft(
  folder: string,
  prompt: Prompt,
  backbone: Backbone,
  options: ExportPeftOptions = {},
): Promise<void> {
  checkMade({ prompt, backbone })
  const { baseModel = baseModelOf(backbone) } = options
  const { placement } = prompt.config
  if (placement !== 'prefix') {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `PEFT puts a prompt before the text, and this one's placement is ${placement}: only prefix can ` +
        'be exported',
    )
  }
  checkFit('The prompt', prompt.config, backbone, prompt.allowsOtherBackbone)
  const config = adapterOf(prompt, backbone, baseModel)
  await tidy(async () => {
    const embeddings = embeddingsOf(prompt, backbone)
    await makeFolder(folder)
    const tensors = { [TENSOR]: embeddings.contiguous() }
    await writeSafetensors(join(folder, WEIGHTS_FILE), tensors, {
      metadata: { format: 'pt' },
    })
  })
  const known = `${JSON.stringify(loptJson(prompt), null, 2)}\n`
  await writeFileAtomic(join(folder, LOPT_FILE), Buffer.from(known))
  await writeFileAtomic(join(folder, CONFIG_FILE), Buffer.from(sortedJson(config)))
}

/** adapter_config.json of a prompt: every field that PEFT itself writes. */
function adapterOf(
  { config: { method, length, hiddenSize } }: Prompt,
  backbone: Backbone,
  baseModel: string | undefined,
): Record<string, unknown> {
  const { kind } = backbone
  const { heads, layers } = backbone.config
  const all = {
    auto_mapping: null,
    base_model_name_or_path: baseModel ?? null,
    inference_mode: true,
    modules_to_save: null,
    num_attention_heads: heads,
    num_virtual_tokens: length,
    peft_version: FORMAT_OF,
    revision: null,
    task_type: TASK_TYPES[kind],
  }
  if (method !== 'prefix') {
    return {
      ...all,
      num_layers: layers,
      num_transformer_submodules: 1,
      peft_type: 'PROMPT_TUNING',
      prompt_tuning_init: 'RANDOM',
      prompt_tuning_init_text: null,
      token_dim: hiddenSize,
      tokenizer_kwargs: null,
      tokenizer_name_or_path: null,
    }
  }
  const size = heads * keyValueShape(backbone).headSize
  return {
    ...all,
    encoder_hidden_size: size,
    init_weights: null,
    num_layers: pairsFor(backbone),
    num_transformer_submodules: kind === 'causal' ? 1 : 2,
    peft_type: 'PREFIX_TUNING',
    prefix_projection: false,
    token_dim: size,
  }
}

/** What PEFT keeps of a prompt, float32 on the CPU. */
function embeddingsOf(prompt: Prompt, backbone: Backbone): Tensor {
  const plain = (tensor: Tensor) =>
    tensor.detach().to({ dtype: 'float32', device: 'cpu' })
  const { K, V } = prompt.parameters
  if (prompt.config.method !== 'prefix' || K === undefined || V === undefined) {
    return plain(vectorsOf(prompt, 'exported to PEFT'))
  }
  return joinPairs({ K: plain(K), V: plain(V) }, backbone)
}

/** A source that transformers opens too: a folder or a model id. */
function baseModelOf({ source }: Backbone): string | undefined {
  return /^builtin:|^created$|\.pt$/.test(source) ? undefined : source
}

function loptJson({ config, task }: Prompt): LoptJson {
  return {
    format: 'lopt-peft',
    version: 1,
    backbone: config.backbone ?? null,
    method: config.method,
    rank: config.rank,
    task: task
      ? {
          template: task.template,
          labels: { ...task.labels },
          ...(task.target && { target: task.target }),
          objective: task.objective ?? null,
          max_length: task.maxLength ?? null,
        }
      : null,
    created_with: `lopt ${packageVersion()}`,
  }
}

/** What `importPeft` takes. */
export interface ImportPeftOptions extends LoadPromptOptions {
  /**
   * Of vectors `full` (default): X as it is; or `lopt-1`: the nearest of rank `rank`. Of keys and values
   * `prefix`.
   */
  method?: 'full' | 'lopt-1' | 'prefix' | undefined
  /** R of `lopt-1`, in 1..min(P, H), default 4. */
  rank?: number
}

/**
 * Reads an adapter folder of PEFT's prompt tuning, p-tuning (the vectors that its network made) or prefix
 * tuning, written by PEFT or by `exportPeft`, as a prompt before the text. Of the rows that PEFT stores for
 * an encoder-decoder's two halves it uses the first P only, and so does this; of a prefix's keys and values
 * each layer gets those that PEFT gives it. A folder that PEFT wrote does not say which weights it belongs
 * to: it is taken, with a warning, for a prompt of this backbone.
 *
 * @example
 * const prompt = await importPeft('./their-adapter', backbone)
 *
 * @throws LoptError `ERR_UNSUPPORTED` for an adapter that is no such prompt; `ERR_PROMPT_FILE` for damaged
 *   files, and for a prompt of another backbone; RangeError for a method that the adapter is not, and for a
 *   rank out of range.
 */
export async function importPeft(
  folder: string,
  backbone: Backbone,
  { method, rank, allowOtherBackbone = false }: ImportPeftOptions = {},
): Promise<Prompt> {
  checkMade({ backbone })
  if (method !== 'lopt-1' && rank !== undefined) {
    throw new RangeError(`rank has no meaning with the method ${method ?? 'full'}`)
  }
  const path = join(folder, CONFIG_FILE)
  const config = await readAdapterConfig(path)
  const { peft_type: type, num_virtual_tokens: P, token_dim: size } = config
  const isPrefix = type === 'PREFIX_TUNING'
  const methods = isPrefix ? ['prefix'] : ['full', 'lopt-1']
  if (method !== undefined && !methods.includes(method)) {
    throw new RangeError(
      `Expected method to be ${methods.join(' or ')} for an adapter of the type ${type} but received ` +
        method,
    )
  }
  checkAdapter(path, config, backbone, allowOtherBackbone)
  const known = await readLoptJson(join(folder, LOPT_FILE))
  const print = known?.backbone ?? undefined
  if (print === undefined) {
    const base = config.base_model_name_or_path
    process.emitWarning(
      `${folder} does not say which weights it was trained on${base ? ` (its base model is ${base})` : ''}; ` +
        `it is taken for a prompt of ${backbone.source}`,
      'LoptWarning',
    )
  }
  checkTrainedOn(folder, print, backbone, allowOtherBackbone)
  return tidy(() => {
    const dtype = backbone.dtype === 'float64' ? 'float64' : 'float32'
    const placed = (tensor: Tensor) => tensor.to({ dtype, device: backbone.device })
    const kept = { placement: 'prefix', backbone: print ?? backbone.fingerprint } as const
    const start = { file: resolve(folder) }
    const about: PromptAbout = { task: taskOf(known), start, allowOtherBackbone }
    if (isPrefix) {
      const N = prefixPairs(config, backbone)
      const pairs = placed(readEmbeddings(folder, [P, 2 * N * size], P))
      const shape = { hiddenSize: backbone.config.hiddenSize, ...keyValueShape(backbone) }
      return prefixPrompt(splitPairs(pairs, N, backbone), { ...kept, ...shape }, about)
    }
    const rows = P * (config.num_transformer_submodules ?? 1)
    const X = placed(readEmbeddings(folder, [rows, size], P))
    if (method === 'lopt-1') return factorised(X, { ...kept, rank: rank ?? 4 }, about)
    return fullPrompt(X, kept, about)
  })
}

function taskOf(known: LoptJson | undefined): PromptTask | undefined {
  if (!known?.task) return undefined
  const { template, labels, target, objective, max_length: maxLength } = known.task
  return {
    template,
    labels,
    target,
    objective: objective ?? undefined,
    maxLength: maxLength ?? undefined,
  }
}
