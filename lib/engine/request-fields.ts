// What a request must be, checked at the edge. Knows no prompt.

import { z } from 'zod'
import { about } from '../errors.js'
import { checkOptions } from '../fields.js'
import type { CheckedLimits } from './limits.js'
import type { ClassifyRequest, GenerateRequest, ReadRequest } from './requests.js'

const name = z.string().nullable().default(null)
const ids = z.array(z.int().min(0))
const input = z.union(
  [z.string(), ids, z.record(z.string(), z.string())],
  'Expected a string, token ids or the fields of a template',
)
const labels = z.union(
  [z.array(z.string()).min(1), z.record(z.string(), z.string())],
  'Expected a list of labels, or their words by label',
)
const text = z.union([z.string(), ids], 'Expected a string or token ids')
const continued = z.union(
  [z.string(), ids, z.record(z.string(), z.string())],
  "Expected a string, token ids or the fields of the prompt's template",
)
const readFields = z.strictObject({
  prompt: name,
  texts: z.array(text),
  logProbabilities: z.int().min(0).max(20).default(0),
})
const rowFields = z.object({ prompt: name, text: continued })

type Unchecked<Request> = Omit<Request, 'signal' | 'timeoutMs'>

const classifyFields = z.strictObject({
  prompt: name,
  inputs: z.array(input),
  labels: labels.optional(),
  candidates: z.array(z.array(z.string()).min(1)).optional(),
})

export function checkClassify(
  request: Unchecked<ClassifyRequest>,
  { maxRows, maxCandidates }: Pick<CheckedLimits, 'maxRows' | 'maxCandidates'>,
) {
  const checked = checkOptions(classifyFields, request)
  const { inputs, candidates = [] } = checked
  checkList(inputs, 'inputs', maxRows)
  if (candidates.length > 0 && candidates.length !== inputs.length) {
    throw new RangeError(
      `Expected candidates for each of ${inputs.length} inputs but received ${candidates.length}`,
    )
  }
  candidates.forEach((own, i) => {
    checkList(own, `candidates[${i}]`, maxCandidates)
  })
  return checked
}

export function checkRead(request: Unchecked<ReadRequest>, most: number) {
  const checked = checkOptions(readFields, request)
  checkList(checked.texts, 'texts', most)
  return checked
}

/** Of a row only what is asked of it before it is a continuation. */
export function checkRows(rows: GenerateRequest['rows'], most: number): void {
  checkList(rows, 'rows', most)
  for (const [i, row] of rows.entries()) {
    about(`rows[${i}]`, () => checkOptions(rowFields, row))
  }
}

function checkList(list: readonly unknown[], name: string, most: number): void {
  if (Array.isArray(list) && list.length > 0 && list.length <= most) return
  const received = Array.isArray(list) ? `${list.length}` : typeof list
  throw new RangeError(
    `Expected ${name} to be a list of 1..${most} but received ${received}`,
  )
}
