// The methods by name.

import { dept } from './dept.js'
import { dpt } from './dpt.js'
import { full } from './full.js'
import { lopt1 } from './lopt-1.js'
import { lopt2 } from './lopt-2.js'
import type { Method, MethodName } from './method.js'
import { pTuning } from './p-tuning.js'
import { prefix } from './prefix.js'
import { residual } from './residual.js'
import { ulpt } from './ulpt.js'

export const METHODS: Readonly<Record<MethodName, Method>> = {
  'lopt-1': lopt1,
  'lopt-2': lopt2,
  full,
  dpt,
  ulpt,
  residual,
  'p-tuning': pTuning,
  dept,
  prefix,
}

/** The names of all methods, as `createPrompt` takes them. */
export const METHOD_NAMES = Object.keys(METHODS) as MethodName[]
