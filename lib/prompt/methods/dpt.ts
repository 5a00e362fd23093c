// Decomposed prompt tuning (Xiao et al. 2023, EMNLP Findings; code: XYaoooo/DPT): X = U V as in
// LoPT-1, both factors drawn from U(-0.5, 0.5), R = 10.

import { lopt1 } from './lopt-1.js'
import type { Method } from './method.js'

export const dpt: Method<'U' | 'V'> = {
  ...lopt1,
  name: 'dpt',
  defaults: { rank: 10, init: 'random' },

  random: ({ sizes: { P, H, R }, uniform }) => ({
    U: uniform([P, R], 0.5),
    V: uniform([R, H], 0.5),
  }),
}
