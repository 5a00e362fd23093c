// Full prompt tuning (Lester, Al-Rfou and Constant 2021, arXiv:2104.08691): X itself is trained.

import type { Method } from './method.js'

export const full: Method<'X'> = {
  name: 'full',
  uses: [],
  trainable: ({ P, H }) => ({ X: [P, H] }),
  fixed: () => ({}),

  // A view: who disposes of it does not dispose of the parameter.
  contribution: ({ X }) => ({ inputs: X.view([...X.shape]) }),

  random: ({ sizes: { P, H }, std, normal }) => ({ X: normal([P, H], std) }),

  from: (X) => ({ X }),
}
