// Learning rates by step. Knows no optimizer.

import type { Schedule } from '../run/index.js'

/**
 * The factor on the learning rate at a step, counted from 0: rises linearly over `warmupSteps`, then
 * stays at 1 (`constant`) or falls to 0 at `steps`, in a line or along half a cosine.
 */
export function scheduleFactor(
  schedule: Schedule,
  step: number,
  { steps, warmupSteps }: { steps: number; warmupSteps: number },
): number {
  if (step < warmupSteps) return (step + 1) / (warmupSteps + 1)
  if (schedule === 'constant') return 1
  const progress = (step - warmupSteps) / Math.max(1, steps - warmupSteps)
  if (schedule === 'linear') return 1 - progress
  return (1 + Math.cos(Math.PI * progress)) / 2
}
