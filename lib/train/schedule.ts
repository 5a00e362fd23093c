// Learning rates by step. Knows no optimizer.

import type { Schedule } from '../run/index.js'

/**
 * The factor on the learning rate at a step, counted from 0: rises linearly from 0 over `warmupSteps`, then
 * stays at 1 (`constant`) or falls to 0 at `steps`, in a line or along half a cosine. The values are those of
 * transformers' `get_constant_schedule_with_warmup`, `get_linear_…` and `get_cosine_…`.
 */
export function scheduleFactor(
  schedule: Schedule,
  step: number,
  { steps, warmupSteps }: { steps: number; warmupSteps: number },
): number {
  if (step < warmupSteps) return step / warmupSteps
  if (schedule === 'constant') return 1
  const progress = (step - warmupSteps) / Math.max(1, steps - warmupSteps)
  if (schedule === 'linear') return 1 - progress
  return (1 + Math.cos(Math.PI * progress)) / 2
}
