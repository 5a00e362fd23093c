// The linear algebra of starting factors: scales, the singular value decomposition, least squares.

import { binding } from '../../torch/context.js'
import type { Tensor } from '../../torch/index.js'
import { handleOf, wrap } from '../../torch/tensor.js'

/** Standard deviation of both factors for which U V has about `std`. */
export function balancedStd(std: number, R: number): number {
  return Math.sqrt(std / Math.sqrt(R))
}

/** V scaled so that X, which is linear in it, gets the standard deviation `std`. */
export function rescaled(V: Tensor, X: Tensor, std: number): Tensor {
  checkNotZero(X)
  return V.mul(std / X.std().item())
}

/** @throws RangeError when σ let nothing through: no gradient would ever pass either. */
export function checkNotZero(activated: Tensor): void {
  if (activated.abs().amax([0, 1]).item() > 0) return
  throw new RangeError(
    'The activation lets nothing of the start through: lower its threshold',
  )
}

/** The R leading singular triplets of X [P, H]: A [P, R], S [R], Bt [R, H]. */
export function leadingSvd(X: Tensor, R: number): { A: Tensor; S: Tensor; Bt: Tensor } {
  const [A, S, Bt] = binding().ops.svd(handleOf(X), false).map(wrap) as [
    Tensor,
    Tensor,
    Tensor,
  ]
  return { A: A.slice(1, 0, R), S: S.slice(0, 0, R), Bt: Bt.slice(0, 0, R) }
}

/** U [P, R] and V [R, H] with U V nearest to X [P, H]: X ≈ A S Bᵀ, U = A √S, V = √S Bᵀ. */
export function balancedFactors(X: Tensor, R: number): { U: Tensor; V: Tensor } {
  const { A, S, Bt } = leadingSvd(X, R)
  const root = S.sqrt() // [R]
  return { U: A.mul(root), V: Bt.mul(root.unsqueeze(1)) }
}

/** The V that minimises |Z V - X|. */
export function leastSquares(Z: Tensor, X: Tensor): Tensor {
  return wrap(binding().ops.lstsq(handleOf(Z), handleOf(X)))
}
