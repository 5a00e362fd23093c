// Where a prompt starts: random draws, or the X that an option names. All of it is float64 on the
// CPU, so that a seed gives the same prompt on every device.

import type { Backbone } from '../backbone/index.js'
import { checkRows } from '../backbone/vocabulary.js'
import { LoptError } from '../errors.js'
import { Generator, rand, randn, randperm, type Tensor, tensor } from '../torch/index.js'
import type { PromptConfig } from './config.js'
import { METHODS } from './methods/index.js'
import type { Factors, Start } from './methods/method.js'
import { readPromptFile, type StoredPrompt } from './prompt-file.js'
import { settingsOf } from './settings.js'

// Rows that the embeddings' standard deviation is measured on: enough for three digits, and a large
// vocabulary's other pages stay on the disk.
const MEASURED_ROWS = 5000

/** What two prompts must have alike for the factors of one to be those of the other. */
const DEFINING = [
  'method',
  'length',
  'rank',
  'hiddenSize',
  'activation',
  'activationThreshold',
  'bottleneck',
  'textTokens',
  'alpha',
  'layers',
  'heads',
  'headSize',
] as const satisfies readonly (keyof PromptConfig)[]

// Byte-pair merges come in the order of their frequency: the first ids are the common tokens, which
// is where Lester et al. (2021, section 3.2) draw from as well.
const COMMON_TOKENS = 5000

/** `random`, `vocab`, `labels`, `text:…` or the path of a prompt file. */
export type Init = string

/** Whether an `init` is none of the words: the path of a prompt file. */
export function isPromptFile(init: Init): boolean {
  return !['random', 'vocab', 'labels'].includes(init) && !init.startsWith('text:')
}

/** Standard deviation of the token embeddings, measured on evenly spaced rows. */
export function embeddingStd(backbone: Backbone): number {
  const step = Math.ceil(backbone.config.vocabSize / MEASURED_ROWS)
  const rows = backbone.tokenEmbedding.detach().slice(0, 0, undefined, step)
  return rows.to({ dtype: 'float64', device: 'cpu' }).std().item()
}

export function draws(seed: number): Pick<Start, 'normal' | 'uniform'> {
  const options = { generator: new Generator({ seed }), dtype: 'float64' } as const
  return {
    normal: (shape, std) => randn([...shape], options).mul(std),
    uniform: (shape, bound) =>
      rand([...shape], options)
        .mul(2 * bound)
        .sub(bound),
  }
}

/**
 * A prompt file's factors as they are, where it holds a prompt of the very method and shapes that is
 * to be started, and its X goes through the same equation; else null.
 */
export function givenFactors(init: Init, config: PromptConfig): Factors | null {
  if (!isPromptFile(init)) return null
  const { config: stored, factors } = readPromptFile(init)
  return DEFINING.every((key) => stored[key] === config[key]) ? factors : null
}

/**
 * The X [P, H] that an `init` other than `random` names.
 *
 * @param labels the words of the labels, for `labels`
 * @throws RangeError for an `init` that gives nothing; LoptError `ERR_PROMPT_FILE` for a file.
 */
export function givenInputs(
  init: Init,
  {
    backbone,
    length,
    seed,
    labels,
  }: {
    backbone: Backbone
    length: number
    seed: number
    labels?: readonly string[] | undefined
  },
): Tensor {
  const { tokenizer, config } = backbone
  if (init === 'vocab') {
    const common = Math.min(COMMON_TOKENS, config.vocabSize)
    const order = randperm(common, { generator: new Generator({ seed }) })
    const ids = Array.from({ length }, (_, i) => i % common)
    return tokenRows(backbone, order.indexSelect(0, idTensor(ids)))
  }
  if (init === 'labels') {
    if (labels === undefined || labels.length === 0) {
      throw new RangeError("init 'labels' needs the words of the labels: give `labels`")
    }
    // As they stand in a row: behind a text, or at the beginning of a decoder's.
    const space = backbone.kind === 'causal' ? ' ' : ''
    const ids = tokenizer.encodeBatch(labels.map((words) => space + words)).flat()
    checkRows(backbone, ids, 'the words of the labels')
    return tokenRows(backbone, idTensor(cycled(ids, length)))
  }
  if (init.startsWith('text:')) {
    const ids = tokenizer.encode(init.slice('text:'.length))
    if (ids.length === 0) throw new RangeError("Expected words after 'text:' in init")
    checkRows(backbone, ids, "the words after 'text:' in init")
    return tokenRows(backbone, idTensor(cycled(ids, length)))
  }
  const X = storedInputs(init, readPromptFile(init))
  const [P, H] = X.shape
  if (P !== length || H !== config.hiddenSize) {
    const remedy = H === config.hiddenSize ? `: give \`length\` ${P}` : ''
    throw new LoptError(
      'ERR_PROMPT_FILE',
      `${init} holds a prompt [${P}, ${H}] but [${length}, ${config.hiddenSize}] is to be started${remedy}`,
    )
  }
  return X.to('float64')
}

/** The X [P, H], float32, that a prompt file's factors give. */
function storedInputs(path: string, { config, factors }: StoredPrompt): Tensor {
  const { inputs, ...more } = METHODS[config.method].contribution(
    factors,
    settingsOf(config),
  )
  if (inputs !== undefined && Object.keys(more).length === 0) return inputs
  throw new LoptError(
    'ERR_PROMPT_FILE',
    `${path} holds a prompt of the method ${config.method}, which is more than vectors among the ` +
      'tokens: only a prompt of the same method and shapes can start from it',
  )
}

function idTensor(ids: readonly number[]): Tensor<'int64'> {
  return tensor([...ids], { dtype: 'int64' })
}

function cycled(ids: readonly number[], length: number): number[] {
  return Array.from({ length }, (_, i) => ids[i % ids.length] as number)
}

function tokenRows(backbone: Backbone, ids: Tensor): Tensor {
  return backbone.tokenEmbedding
    .detach()
    .indexSelect(0, ids.to(backbone.device))
    .to({ dtype: 'float64', device: 'cpu' })
}
