// P-tuning (Liu et al. 2021, arXiv:2103.10385) with PEFT's MLP as encoder (`PromptEncoder`,
// reparameterization MLP of width H): X = W₃ relu(W₂ relu(W₁ E + b₁) + b₂) + b₃.

import { linear, type Tensor } from '../../torch/index.js'
import { checkNotZero } from './factorise.js'
import type { Factors, Method, Start } from './method.js'
import { linearStart } from './network.js'

type Name = 'E' | 'W1' | 'b1' | 'W2' | 'b2' | 'W3' | 'b3'

function encoded({ E, W1, b1, W2, b2, W3, b3 }: Factors<Name>): Tensor {
  return linear(linear(linear(E, W1, b1).relu(), W2, b2).relu(), W3, b3)
}

/** A fresh network on E, its last layer rescaled so that X has the embeddings' scale. */
function startFrom(E: Tensor, start: Start): Factors<Name> {
  const { H } = start.sizes
  const { weight: W1, bias: b1 } = linearStart(H, H, start)
  const { weight: W2, bias: b2 } = linearStart(H, H, start)
  const { weight: W3, bias: b3 } = linearStart(H, H, start)
  const X = encoded({ E, W1, b1, W2, b2, W3, b3 })
  checkNotZero(X)
  const scale = start.std / X.std().item()
  return { E, W1, b1, W2, b2, W3: W3.mul(scale), b3: b3.mul(scale) }
}

export const pTuning: Method<Name> = {
  name: 'p-tuning',
  uses: [],
  trainable: ({ P, H }) => ({
    E: [P, H],
    W1: [H, H],
    b1: [H],
    W2: [H, H],
    b2: [H],
    W3: [H, H],
    b3: [H],
  }),
  fixed: () => ({}),

  contribution: (factors) => ({ inputs: encoded(factors) }),

  // As `nn.Embedding` starts.
  random: (start) => startFrom(start.normal([start.sizes.P, start.sizes.H], 1), start),

  // Only the embeddings start from what is given: what the network makes of them is new.
  from: (X, start) => startFrom(X, start),
}
