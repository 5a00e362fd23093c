// Residual prompt tuning (Razdaibiedina et al. 2023, arXiv:2305.03937; code: arazd/ResidualPrompts):
// p + LN(W₂ relu(W₁ p + b₁) + b₂) for each row p of X, one network for all rows.

import { full, layerNorm, linear, type Tensor, zeros } from '../../torch/index.js'
import type { Factors, Method, Start } from './method.js'
import { linearStart } from './network.js'

type Name = 'X' | 'W1' | 'b1' | 'W2' | 'b2' | 'normWeight' | 'normBias'

function startFrom(X: Tensor, scale: number, start: Start): Factors<Name> {
  const { H, M } = start.sizes
  const { weight: W1, bias: b1 } = linearStart(H, M, start)
  const { weight: W2, bias: b2 } = linearStart(M, H, start)
  const normWeight = full([H], scale, { dtype: 'float64' })
  return { X, W1, b1, W2, b2, normWeight, normBias: zeros([H], { dtype: 'float64' }) }
}

export const residual: Method<Name> = {
  name: 'residual',
  uses: ['bottleneck'],
  trainable: ({ P, H, M }) => ({
    X: [P, H],
    W1: [M, H],
    b1: [M],
    W2: [H, M],
    b2: [H],
    normWeight: [H],
    normBias: [H],
  }),
  fixed: () => ({}),

  contribution({ X, W1, b1, W2, b2, normWeight, normBias }, { sizes: { H } }) {
    const inner = linear(linear(X, W1, b1).relu(), W2, b2)
    return {
      inputs: X.add(layerNorm(inner, [H], { weight: normWeight, bias: normBias })),
    }
  },

  // What the norm lets through has the scale of X, so that neither part drowns the other.
  random(start) {
    const { P, H } = start.sizes
    return startFrom(start.normal([P, H], start.std), start.std, start)
  },

  // A norm of weight 0 lets nothing through: the start is X itself. Its first step opens it.
  from: (X, start) => startFrom(X, 0, start),
}
