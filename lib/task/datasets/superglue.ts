// What SuperGLUE's tasks share: their repository on the hub, the files of the original archive, their
// splits. Knows no single task.

import type { NamedTask } from './named.js'

export function superGlue(
  hubFolder: string,
  folder: string,
): Pick<NamedTask, 'hub' | 'original' | 'evaluation'> {
  return {
    hub: { repository: 'aps/super_glue', folder: hubFolder },
    original: { folder, files: { train: 'train.jsonl', evaluation: 'val.jsonl' } },
    evaluation: 'validation',
  }
}

/** Label words of DePT: the labels' numbers. */
export function numbered(labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(labels.map((label, i) => [label, String(i)]))
}

export const falseTrue = ['False', 'True'] as const

export const noYes = { False: 'no', True: 'yes' }
