// The methods by name.

import { full } from './full.js'
import { lopt1 } from './lopt-1.js'
import { lopt2 } from './lopt-2.js'
import type { Method, MethodName } from './method.js'

export const METHODS: Readonly<Record<MethodName, Method>> = {
  'lopt-1': lopt1,
  'lopt-2': lopt2,
  full,
}

export const METHOD_NAMES = Object.keys(METHODS) as MethodName[]
