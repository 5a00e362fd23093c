// The tasks that `loadTask` knows by name: those that ship with the package, and those of the literature.

import { agnews } from './agnews.js'
import { boolq } from './boolq.js'
import type { BundledTask } from './bundled.js'
import { copa } from './copa.js'
import { cb, rte } from './entailment.js'
import { kinds } from './kinds.js'
import { multirc } from './multirc.js'
import type { NamedTask } from './named.js'
import { record } from './record.js'
import { spam } from './spam.js'
import { sst2 } from './sst2.js'
import { topics } from './topics.js'
import { wic } from './wic.js'
import { wsc } from './wsc.js'

export { type BundledTask, readBundledTask } from './bundled.js'
export { loadNamedTask, type NamedTaskOptions } from './load-named.js'
export { type NamedTask, TEMPLATE_STYLES, type TemplateStyle } from './named.js'
export { SPLITS, type Splits } from './splits.js'

/** The tasks whose rows ship with the package. */
export const bundledTasks = { spam, topics, kinds } satisfies Record<string, BundledTask>

/** The tasks whose rows come with the package. */
export const bundledTaskNames: readonly string[] = Object.keys(bundledTasks)

/** The tasks whose rows come from the hub or a folder. */
export const namedTasks: Readonly<Record<string, NamedTask>> = {
  ...{ sst2, agnews },
  ...{ boolq, cb, copa, multirc, record, rte, wic, wsc },
}

/** Every name that `loadTask` knows. */
export const taskNames: readonly string[] = [
  ...bundledTaskNames,
  ...Object.keys(namedTasks),
]
