// Decomposed prompt tuning of Shi and Lipani 2024 (DePT, arXiv:2309.05173; code:
// ZhengxiangShi/DePT): a short prompt X, and A B α/√R added to the text's first S embeddings.

import { type Tensor, zeros } from '../../torch/index.js'
import type { Factors, Method, Start } from './method.js'

type Name = 'X' | 'A' | 'B'

/** A as Kaiming et al. draw it with a = √5, U(±1/√R); B zero: the text is what it was. */
function startFrom(X: Tensor, { sizes: { H, R, S }, uniform }: Start): Factors<Name> {
  const A = uniform([S, R], 1 / Math.sqrt(R))
  return { X, A, B: zeros([R, H], { dtype: 'float64' }) }
}

export const dept: Method<Name> = {
  name: 'dept',
  uses: ['rank', 'textTokens', 'alpha'],
  maxRank: ({ S, H }) => Math.min(S, H),
  trainable: ({ P, H, R, S }) => ({ X: [P, H], A: [S, R], B: [R, H] }),
  fixed: () => ({}),

  contribution: ({ X, A, B }, { sizes: { R }, alpha: α }) => ({
    inputs: X.view([...X.shape]),
    embeddingDelta: A.matmul(B).mul(α / Math.sqrt(R)),
  }),

  random: (start) =>
    startFrom(start.normal([start.sizes.P, start.sizes.H], start.std), start),

  from: startFrom,
}
