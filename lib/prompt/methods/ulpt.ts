// Ultra-low-dimensional prompt tuning (arXiv:2502.04501): X = (Z P̃) ⊙ s + b with a frozen random
// projection P̃, a scale and a shift an embedding dimension.

import { full, ones, zeros } from '../../torch/index.js'
import { leastSquares } from './factorise.js'
import type { Method, Start } from './method.js'

const float64 = { dtype: 'float64' } as const

// Rows of Z P̃ then have the scale of Z's.
const projection = ({ sizes: { R, H }, normal }: Start) =>
  normal([R, H], 1 / Math.sqrt(R))

export const ulpt: Method<'P0' | 'Z' | 's' | 'b'> = {
  name: 'ulpt',
  uses: ['rank'],
  // Z P̃ is as it is for any R: beyond H a projection would be wider than what it makes.
  maxRank: ({ H }) => H,
  trainable: ({ P, R, H }) => ({ Z: [P, R], s: [H], b: [H] }),
  fixed: ({ R, H }) => ({ P0: [R, H] }),

  contribution: ({ P0, Z, s, b }) => ({ inputs: Z.matmul(P0).mul(s).add(b) }),

  random(start) {
    const { P, R, H } = start.sizes
    const P0 = projection(start)
    const Z = start.normal([P, R], 1)
    const s = full([H], start.std / Z.matmul(P0).std().item(), float64)
    return { P0, Z, s, b: zeros([H], float64) }
  },

  // b is the mean of X's rows, and Z the least-squares fit of the rest: Zᵀ solves P̃ᵀ Zᵀ = (X - b)ᵀ.
  from(X, start) {
    const { H } = start.sizes
    const P0 = projection(start)
    const b = X.mean(0)
    const rest = X.sub(b).transpose(0, 1).contiguous() // [H, P]
    const Zt = leastSquares(P0.transpose(0, 1).contiguous(), rest) // [R, P]
    return { P0, Z: Zt.transpose(0, 1).contiguous(), s: ones([H], float64), b }
  },
}
