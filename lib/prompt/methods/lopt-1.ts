// LoPT-1 (Guo, Damani and Chang 2024, arXiv:2406.19486): X = U V.

import { balancedFactors, balancedStd, rescaled } from './factorise.js'
import type { Method } from './method.js'

export const lopt1: Method<'U' | 'V'> = {
  name: 'lopt-1',
  uses: ['rank'],
  trainable: ({ P, H, R }) => ({ U: [P, R], V: [R, H] }),
  fixed: () => ({}),

  contribution: ({ U, V }) => ({ inputs: U.matmul(V) }),

  random({ sizes: { P, H, R }, std, normal }) {
    const U = normal([P, R], balancedStd(std, R))
    const V = normal([R, H], balancedStd(std, R))
    return { U, V: rescaled(V, U.matmul(V), std) }
  },

  from: (X, { sizes: { R } }) => balancedFactors(X, R),
}
