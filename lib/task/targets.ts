// Whether a task's rows are answered by texts or by labels, and what they may be judged by. Reads no row.

import { LoptError } from '../errors.js'
import type { Splits, TaskSettings } from './create-task.js'
import {
  type Example,
  LABEL_METRICS,
  type Metric,
  type SplitName,
  type TargetFormat,
  type Task,
  TEXT_METRICS,
} from './task.js'

/**
 * How the rows are answered by texts; undefined where labels answer them.
 *
 * @throws LoptError `ERR_DATA` for the first row that differs; RangeError for what goes with labels alone.
 */
export function targetFormat(
  name: string,
  splits: Splits,
  settings: TaskSettings,
): TargetFormat | undefined {
  const all = Object.entries(splits) as [SplitName, readonly Example[] | undefined][]
  const rows = all.flatMap(([split, own = []]) =>
    own.map((example, i) => ({ example, where: placeOf(example, split, i) })),
  )
  const isText = rows[0]?.example.targets !== undefined
  const other = rows.find(({ example }) => (example.targets !== undefined) !== isText)
  if (other !== undefined) {
    const [has, have] = isText ? ['a label', 'targets'] : ['a target', 'labels']
    throw new LoptError(
      'ERR_DATA',
      `${other.where}: The row has ${has}, and those before it have ${have}`,
    )
  }
  const { targetTemplate, targetEnd, labels, verbalizer } = settings
  if (isText) {
    if (labels?.length || Object.keys(verbalizer ?? {}).length > 0) {
      throw new RangeError(
        `The rows of task "${name}" are answered by texts: labels are for rows that have some`,
      )
    }
    return { template: targetTemplate, end: targetEnd ?? true }
  }
  if (targetTemplate === undefined && targetEnd === undefined) return undefined
  throw new RangeError(
    `The rows of task "${name}" are answered by labels: targetTemplate and targetEnd are for texts`,
  )
}

/** The figure that rows are judged by, and what gives it. @throws RangeError for one that they cannot have. */
export function metricOf(
  { metric }: TaskSettings,
  target: TargetFormat | undefined,
): Pick<Task, 'metric' | 'judge'> {
  if (typeof metric === 'function' && target) return { metric: 'own', judge: metric }
  if (metric === 'own') {
    throw new RangeError("The metric own is a function: give it as the task's `metric`")
  }
  const metrics: readonly unknown[] = target ? TEXT_METRICS : LABEL_METRICS
  const found = metric ?? (target ? 'perplexity' : 'accuracy')
  if (metrics.includes(found)) return { metric: found as Metric }
  const rows = target ? ' of rows that texts answer' : ''
  throw new RangeError(
    `Expected metric${rows} to be one of ${metrics.join(', ')} but received ${String(metric)}`,
  )
}

/** An example in messages. */
export function placeOf({ source }: Example, split: SplitName, i: number): string {
  return source ? `${source.file}:${source.line}` : `${split}[${i}]`
}
