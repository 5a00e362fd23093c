// Prefix tuning (Li and Liang 2021, arXiv:2101.00190) without a projection, which is P-tuning v2
// (arXiv:2110.07602): P keys and values a layer, trained themselves. For a T5 they are those of the
// decoder's self-attention, which is where PEFT's prefix takes effect (peft_model.py, `get_prompt`:
// it empties the cache of the attention to the encoder).

import type { Method } from './method.js'

export const prefix: Method<'K' | 'V'> = {
  name: 'prefix',
  uses: [],
  placements: {
    allowed: ['prefix'],
    because: 'keys and values stand before every token of a layer, not among them',
  },
  defaults: { init: 'random' },
  trainable: ({ L, P, heads, D }) => ({ K: [L, P, heads * D], V: [L, P, heads * D] }),
  fixed: () => ({}),

  contribution({ K, V }, { sizes: { L, P, heads, D } }) {
    const split = (all: typeof K, layer: number) =>
      all.select(0, layer).view([P, heads, D]).transpose(0, 1).unsqueeze(0)
    const layers = Array.from({ length: L }, (_, layer) => layer)
    return { past: layers.flatMap((layer) => [split(K, layer), split(V, layer)]) }
  },

  // As `nn.Embedding` starts: PEFT's.
  random: ({ sizes: { L, P, heads, D }, normal }) => ({
    K: normal([L, P, heads * D], 1),
    V: normal([L, P, heads * D], 1),
  }),
}
