// LoPT-2 (Guo, Damani and Chang 2024, arXiv:2406.19486): X = σ(X₀ U) V with a fixed X₀.

import {
  balancedStd,
  checkNotZero,
  leadingSvd,
  leastSquares,
  rescaled,
} from './factorise.js'
import type { Method } from './method.js'

export const lopt2: Method<'X0' | 'U' | 'V'> = {
  name: 'lopt-2',
  uses: ['rank', 'activation', 'activationThreshold'],
  trainable: ({ H, R }) => ({ U: [H, R], V: [R, H] }),
  fixed: ({ P, H }) => ({ X0: [P, H] }),

  contribution: ({ X0, U, V }, { activation: σ }) => ({
    inputs: σ(X0.matmul(U)).matmul(V),
  }),

  // The source at hand does not say what X₀ is at a random start: here it is drawn at the scale of
  // the token embeddings.
  random({ sizes: { P, H, R }, activation: σ, std, normal }) {
    const X0 = normal([P, H], std)
    const U = normal([H, R], balancedStd(std, R))
    const V = normal([R, H], balancedStd(std, R))
    return { X0, U, V: rescaled(V, σ(X0.matmul(U)).matmul(V), std) }
  },

  // X₀ is X itself, U its leading right singular vectors, V the least-squares fit of X to σ(X₀ U).
  from(X, { sizes: { R }, activation: σ }) {
    const { Bt } = leadingSvd(X, R)
    const U = Bt.transpose(0, 1).contiguous() // [H, R]
    // A singular vector's sign is arbitrary, and σ is not odd: the one with the larger sum through.
    const sign = X.matmul(U).sum(0).ge(0).to('float64').mul(2).sub(1) // [R]
    const signed = U.mul(sign)
    const Z = σ(X.matmul(signed)) // [P, R]
    checkNotZero(Z)
    return { X0: X, U: signed, V: leastSquares(Z, X) }
  },
}
