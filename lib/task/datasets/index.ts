// The tasks that ship with the package, by name.

import type { BundledTask } from './bundled.js'
import { spam } from './spam.js'
import { topics } from './topics.js'

export { type BundledTask, readBundledTask } from './bundled.js'

/** The tasks that `loadTask` knows by name. */
export const bundledTasks = { spam, topics } satisfies Record<string, BundledTask>

export const bundledTaskNames: readonly string[] = Object.keys(bundledTasks)
