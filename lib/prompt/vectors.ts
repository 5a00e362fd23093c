// Prompts that are nothing but vectors among the tokens, and what else can be made of their X; prompts of
// given numbers. Knows no file.

import { checkMade, LoptError } from '../errors.js'
import { type Tensor, tidy } from '../torch/index.js'
import type { PromptConfig } from './config.js'
import { balancedFactors } from './methods/factorise.js'
import type { Factors } from './methods/method.js'
import { Prompt, type PromptAbout } from './prompt.js'

/**
 * The X [P, H] of a prompt that is nothing else, without its graph.
 *
 * @param purpose what it is needed for, in the refusal
 * @throws LoptError `ERR_UNSUPPORTED` for a method that gives something else or something besides.
 */
export function vectorsOf(prompt: Prompt, purpose: string): Tensor {
  return tidy(() => {
    const { inputs: X, ...more } = prompt.contribution()
    if (X !== undefined && Object.keys(more).length === 0) return X.detach()
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `A prompt of the method ${prompt.config.method} is more than vectors among the tokens, and ` +
        `only those can be ${purpose}`,
    )
  })
}

/** What `compressPrompt` takes. */
export interface CompressOptions {
  /** R, in 1..min(P, H). */
  rank: number
}

/**
 * The LoPT-1 prompt that is nearest to another prompt's X [P, H] in the Frobenius norm: its singular
 * value decomposition up to rank R (Eckart and Young 1936). Placement, task and backbone stay, and so does
 * whether it may be run with another one.
 *
 * @throws RangeError for a rank out of range; LoptError `ERR_UNSUPPORTED` for a method that is more
 *   than vectors among the tokens.
 */
export function compressPrompt(prompt: Prompt, { rank }: CompressOptions): Prompt {
  checkMade({ prompt })
  const X = vectorsOf(prompt, 'compressed')
  try {
    const { task, allowsOtherBackbone: allowOtherBackbone } = prompt
    return factorised(X, { ...prompt.config, rank }, { task, allowOtherBackbone })
  } finally {
    X.dispose()
  }
}

/** ‖X - Y‖ / ‖X‖ in the Frobenius norm, of a prompt's X and another's; 0 where both are zero. */
export function compressionError(prompt: Prompt, compressed: Prompt): number {
  return tidy(() => {
    const [X, Y] = [prompt, compressed].map((one) =>
      vectorsOf(one, 'compared').to({ dtype: 'float64', device: 'cpu' }),
    ) as [Tensor, Tensor]
    const lost = X.sub(Y).norm().item()
    return lost === 0 ? 0 : lost / X.norm().item()
  })
}

/** What a prompt that is made from an X has of its own. */
type Kept = Pick<PromptConfig, 'placement' | 'backbone'>

/** The full prompt of an X [P, H], in its dtype and on its device. */
export function fullPrompt(X: Tensor, kept: Kept, about: PromptAbout = {}): Prompt {
  return tidy(() => new Prompt(plainConfig(X, 'full', 0, kept), { X: X.clone() }, about))
}

/** The LoPT-1 prompt of rank R nearest to an X [P, H], in its dtype and on its device. */
export function factorised(
  X: Tensor,
  { rank, ...kept }: Kept & { readonly rank: number },
  about: PromptAbout = {},
): Prompt {
  const [P, H] = X.shape as [number, number]
  const most = Math.min(P, H)
  if (!(Number.isSafeInteger(rank) && rank >= 1 && rank <= most)) {
    throw new RangeError(`Expected rank in 1..${most} but received ${rank}`)
  }
  return tidy(() => {
    const config = plainConfig(X, 'lopt-1', rank, kept)
    // float64 on the CPU, as every start is
    const exact = X.to({ dtype: 'float64', device: 'cpu' })
    const { U, V } = balancedFactors(exact, rank)
    const { dtype, device } = X
    const placed = (factor: Tensor) => factor.to({ dtype, device }).clone().contiguous()
    return new Prompt(config, { U: placed(U), V: placed(V) }, about)
  })
}

/** The prefix of K and V [L, P, heads · D], in their dtype and on their device. */
export function prefixPrompt(
  { K, V }: Factors<'K' | 'V'>,
  kept: Kept & Pick<PromptConfig, 'hiddenSize' | 'layers' | 'heads' | 'headSize'>,
  about: PromptAbout = {},
): Prompt {
  const length = K.shape[1] as number
  const config = { ...UNUSED, ...kept, method: 'prefix', length, rank: 0 } as const
  return tidy(() => new Prompt(config, { K: K.clone(), V: V.clone() }, about))
}

// `createPrompt`'s σ, which no method here has a use for
const UNUSED = { activation: 'relu', activationThreshold: 0.1 } as const

function plainConfig(
  X: Tensor,
  method: 'full' | 'lopt-1',
  rank: number,
  { placement, backbone }: Kept,
): PromptConfig {
  const [length, hiddenSize] = X.shape as [number, number]
  return { method, length, rank, hiddenSize, placement, ...UNUSED, backbone }
}
