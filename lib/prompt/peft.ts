// Prompts to and from PEFT's adapter folders: adapter_config.json and adapter_model.safetensors with the
// one tensor `prompt_embeddings`, as peft 0.21.0 writes and reads them.

import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { makeFolder, writeFileAtomic } from '../atomic-file.js'
import type { Backbone } from '../backbone/index.js'
import { checkMade, LoptError } from '../errors.js'
import { packageVersion } from '../native.js'
import { type Tensor, tidy, writeSafetensors } from '../torch/index.js'
import type { PromptTask } from './config.js'
import type { LoadPromptOptions } from './load-prompt.js'
import {
  type AdapterConfig,
  CONFIG_FILE,
  LOPT_FILE,
  type LoptJson,
  PICKLE_FILE,
  readAdapterConfig,
  readLoptJson,
  sortedJson,
  WEIGHTS_FILE,
} from './peft-config.js'
import type { Prompt } from './prompt.js'
import { openTensors } from './tensor-file.js'
import { factorised, fullPrompt, vectorsOf } from './vectors.js'

const TENSOR = 'prompt_embeddings'
const FORMAT_OF = '0.21.0'
const TASK_TYPES = { causal: 'CAUSAL_LM', 'encoder-decoder': 'SEQ_2_SEQ_LM' } as const

export interface ExportPeftOptions {
  /**
   * What PEFT notes as the base model: a folder or model id that transformers opens. Default: the
   * backbone's source, where it is one.
   */
  baseModel?: string | undefined
}

/**
 * Writes a prompt as an adapter folder that `PeftModel.from_pretrained` opens: its X [P, H], float32.
 * Each file is whole or not there; in a new folder adapter_config.json comes last, so that an
 * interrupted export is no adapter. lopt.json keeps what PEFT has no place for.
 *
 * @param folder made if it is not there
 * @throws LoptError `ERR_UNSUPPORTED` for a prompt that does not stand before the text, or is more than
 *   vectors among the tokens; `ERR_PROMPT_FILE` for a backbone of another hidden size; `ERR_IO`.
 */
export async function exportPeft(
  folder: string,
  prompt: Prompt,
  backbone: Backbone,
  options: ExportPeftOptions = {},
): Promise<void> {
  checkMade({ prompt, backbone })
  const { baseModel = baseModelOf(backbone) } = options
  const { placement, length, hiddenSize } = prompt.config
  if (placement !== 'prefix') {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `PEFT puts a prompt before the text, and this one's placement is ${placement}: only prefix can ` +
        'be exported',
    )
  }
  const { heads, layers, hiddenSize: wanted } = backbone.config
  if (hiddenSize !== wanted) {
    throw new LoptError(
      'ERR_PROMPT_FILE',
      `The prompt is for a backbone of hidden size ${hiddenSize}; ${backbone.source} has ${wanted}`,
    )
  }
  const config = {
    auto_mapping: null,
    base_model_name_or_path: baseModel ?? null,
    inference_mode: true,
    modules_to_save: null,
    num_attention_heads: heads,
    num_layers: layers,
    num_transformer_submodules: 1,
    num_virtual_tokens: length,
    peft_type: 'PROMPT_TUNING',
    peft_version: FORMAT_OF,
    prompt_tuning_init: 'RANDOM',
    prompt_tuning_init_text: null,
    revision: null,
    task_type: TASK_TYPES[backbone.kind],
    token_dim: hiddenSize,
    tokenizer_kwargs: null,
    tokenizer_name_or_path: null,
  }
  await tidy(async () => {
    const X = vectorsOf(prompt, 'exported to PEFT').to({
      dtype: 'float32',
      device: 'cpu',
    })
    await makeFolder(folder)
    const tensors = { [TENSOR]: X.contiguous() }
    await writeSafetensors(join(folder, WEIGHTS_FILE), tensors, {
      metadata: { format: 'pt' },
    })
  })
  const known = `${JSON.stringify(loptJson(prompt), null, 2)}\n`
  await writeFileAtomic(join(folder, LOPT_FILE), Buffer.from(known))
  await writeFileAtomic(join(folder, CONFIG_FILE), Buffer.from(sortedJson(config)))
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
          objective: task.objective ?? null,
          max_length: task.maxLength ?? null,
        }
      : null,
    created_with: `lopt ${packageVersion()}`,
  }
}

export interface ImportPeftOptions extends LoadPromptOptions {
  /** `full` (default): X as it is; `lopt-1`: the nearest of rank `rank`. */
  method?: 'full' | 'lopt-1'
  /** R of `lopt-1`, in 1..min(P, H), default 4. */
  rank?: number
}

/**
 * Reads an adapter folder of PEFT's prompt tuning, written by PEFT or by `exportPeft`, as a prompt before
 * the text. Of the rows that PEFT stores for an encoder-decoder's two halves it uses the first P only, and
 * so does this. A folder that PEFT wrote does not say which weights it belongs to: it is taken, with a
 * warning, for a prompt of this backbone.
 *
 * @throws LoptError `ERR_UNSUPPORTED` for an adapter that is no such prompt; `ERR_PROMPT_FILE` for damaged
 *   files, and for a prompt of another backbone; RangeError for a rank out of range.
 */
export async function importPeft(
  folder: string,
  backbone: Backbone,
  { method = 'full', rank, allowOtherBackbone = false }: ImportPeftOptions = {},
): Promise<Prompt> {
  checkMade({ backbone })
  if (method === 'full' && rank !== undefined) {
    throw new RangeError('rank has no meaning with the method full')
  }
  const path = join(folder, CONFIG_FILE)
  const config = await readAdapterConfig(path)
  checkKind(path, config, backbone)
  checkSizes(path, config, backbone, allowOtherBackbone)
  const known = await readLoptJson(join(folder, LOPT_FILE))
  const print = known?.backbone ?? undefined
  if (print === undefined) {
    const base = config.base_model_name_or_path
    process.emitWarning(
      `${folder} does not say which weights it was trained on${base ? ` (its base model is ${base})` : ''}; ` +
        `it is taken for a prompt of ${backbone.source}`,
      'LoptWarning',
    )
  } else if (print !== backbone.fingerprint && !allowOtherBackbone) {
    throw new LoptError(
      'ERR_PROMPT_FILE',
      `${folder} was trained on the backbone ${print}, but ${backbone.source} is ` +
        `${backbone.fingerprint}: give allowOtherBackbone if that is wanted`,
    )
  }
  return tidy(() => {
    const dtype = backbone.dtype === 'float64' ? 'float64' : 'float32'
    const X = readVectors(folder, config).to({ dtype, device: backbone.device })
    const kept = { placement: 'prefix', backbone: print ?? backbone.fingerprint } as const
    const about = { task: taskOf(known), start: { file: resolve(folder) } }
    if (method === 'full') return fullPrompt(X, kept, about)
    return factorised(X, { ...kept, rank: rank ?? 4 }, about)
  })
}

function checkKind(
  path: string,
  config: AdapterConfig,
  { kind, source }: Backbone,
): void {
  const { task_type: task, num_transformer_submodules: parts, modules_to_save } = config
  const refuse = (what: string): never => {
    throw new LoptError('ERR_UNSUPPORTED', `${path}: ${what}`)
  }
  if (modules_to_save?.length) {
    refuse(
      `modules_to_save: ${modules_to_save.join(', ')} were trained beside the prompt`,
    )
  }
  const types: readonly string[] = Object.values(TASK_TYPES)
  if (task && !types.includes(task)) {
    refuse(`task_type ${task} puts a head on the model; ${types.join(' and ')} are read`)
  }
  if (task && task !== TASK_TYPES[kind]) {
    throw new LoptError(
      'ERR_PROMPT_FILE',
      `${path}: task_type ${task}, but ${source} is of the kind ${kind}`,
    )
  }
  const most = kind === 'causal' ? 1 : 2
  if ((parts ?? 1) > most) {
    refuse(
      `num_transformer_submodules: Expected 1..${most} for a backbone of the kind ${kind} but received ${parts}`,
    )
  }
}

function checkSizes(
  path: string,
  config: AdapterConfig,
  backbone: Backbone,
  allowOtherBackbone: boolean,
): void {
  const refuse = (what: string): never => {
    throw new LoptError('ERR_PROMPT_FILE', `${path}: ${what}`)
  }
  const { source, maxPositions } = backbone
  const { hiddenSize, layers, heads } = backbone.config
  if (config.token_dim !== hiddenSize) {
    refuse(
      `token_dim is ${config.token_dim}; ${source} has a hidden size of ${hiddenSize}`,
    )
  }
  if (config.num_virtual_tokens > maxPositions - 2) {
    refuse(
      `${config.num_virtual_tokens} virtual tokens; ${source} has only ${maxPositions} positions`,
    )
  }
  // These change nothing of a prompt, but tell another model.
  const alike = [
    ['num_layers', config.num_layers, layers],
    ['num_attention_heads', config.num_attention_heads, heads],
  ] as const
  for (const [name, found, wanted] of alike) {
    if (found == null || found === wanted || allowOtherBackbone) continue
    refuse(
      `${name} is ${found}, but ${source} has ${wanted}: give allowOtherBackbone if that is wanted`,
    )
  }
}

/** The X [P, H] of an adapter, float32. */
function readVectors(folder: string, config: AdapterConfig): Tensor {
  const path = join(folder, WEIGHTS_FILE)
  const refuse = (what: string): never => {
    throw new LoptError('ERR_PROMPT_FILE', `${path}: ${what}`)
  }
  if (!existsSync(path)) {
    if (!existsSync(join(folder, PICKLE_FILE))) refuse('there is no such file')
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${join(folder, PICKLE_FILE)} is a pickle, which can run code and is not read. Convert it in ` +
        'Python: PeftModel.from_pretrained(model, FOLDER).save_pretrained(FOLDER) writes ' +
        `${WEIGHTS_FILE}`,
    )
  }
  const file = openTensors(path)
  try {
    const others = file.names.filter((name) => name !== TENSOR)
    if (!file.has(TENSOR)) refuse(`there is no tensor ${TENSOR}`)
    if (others.length > 0) {
      throw new LoptError(
        'ERR_UNSUPPORTED',
        `${path}: holds ${others.join(', ')} besides ${TENSOR}: weights of the model were changed, ` +
          'and a prompt leaves them as they are',
      )
    }
    const { dtype, shape } = file.info(TENSOR)
    const { num_virtual_tokens: P, token_dim: H } = config
    const rows = P * (config.num_transformer_submodules ?? 1)
    if (shape.join() !== [rows, H].join()) {
      refuse(`tensor ${TENSOR}: expected [${rows}, ${H}] but found [${shape.join(', ')}]`)
    }
    // of which each value is a float32 too
    if (!['float32', 'float16', 'bfloat16'].includes(dtype)) {
      refuse(`tensor ${TENSOR}: expected float32, float16 or bfloat16 but found ${dtype}`)
    }
    return tidy(() => {
      const X = file.tensor(TENSOR).slice(0, 0, P).to('float32').clone()
      if (X.isfinite().all().item() !== 1) {
        refuse(`tensor ${TENSOR}: holds values that are not finite`)
      }
      return X
    })
  } finally {
    file.dispose()
  }
}

function taskOf(known: LoptJson | undefined): PromptTask | undefined {
  if (!known?.task) return undefined
  const { template, labels, objective, max_length: maxLength } = known.task
  return {
    template,
    labels,
    objective: objective ?? undefined,
    maxLength: maxLength ?? undefined,
  }
}
