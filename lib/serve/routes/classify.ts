// POST /v1/classify: which label a text has, in vLLM's form with all labels and their scores.

import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Input } from '../../engine/index.js'
import { ApiError, ofRequest } from '../api-error.js'
import {
  isIds,
  isList,
  isRecord,
  isText,
  modelField,
  oneOf,
  total,
  usageAnswer,
  usageOf,
  userField,
} from '../fields.js'
import { promptOfCall } from '../models.js'
import type { ServeSettings } from '../options.js'
import { type Call, jsonRoute, type Route } from '../site.js'

type Fields = Record<string, string>
type Inputs = string | string[] | Fields | Fields[] | number[] | number[][]

// Each is run behind each text.
const MOST_LABELS = 256

function classifyBody(limits: ServeSettings['limits']) {
  const { maxInputs } = limits
  const text = isText(limits)
  const record = isRecord(limits)
  const ids = isIds(limits)
  const isInputs = (value: unknown): value is Inputs =>
    text(value) ||
    ids(value) ||
    record(value) ||
    isList(value, maxInputs, text) ||
    isList(value, maxInputs, record) ||
    isList(value, maxInputs, ids)
  const isWords = (value: unknown): value is string[] => isList(value, MOST_LABELS, text)
  const isLabels = (value: unknown): value is string[] | Fields =>
    isWords(value) || record(value)
  const isCandidates = (value: unknown): value is string[] | string[][] =>
    isWords(value) || isList(value, maxInputs, isWords)
  return z.strictObject({
    model: modelField,
    input: oneOf(
      isInputs,
      `a string, an object of a template's fields, token ids, or a list of up to ${maxInputs} of one of these, each of ${limits.maxTextChars} characters or ids at most`,
      ['text', 'texts', 'fields', 'fieldLists', 'ids', 'idLists'],
    ),
    candidates: oneOf(
      isCandidates,
      `up to ${MOST_LABELS} texts, or a list of them for each input`,
      ['texts', 'textLists'],
    )
      .optional()
      .meta({ description: 'What an input is answered with, in place of the labels' }),
    labels: oneOf(isLabels, `up to ${MOST_LABELS} labels, or their words by label`, [
      'texts',
      'fields',
    ])
      .optional()
      .meta({
        description: "In place of the prompt's own; a model without a prompt needs some",
      }),
    user: userField,
  })
}

type ClassifyBody = z.output<ReturnType<typeof classifyBody>>

const classifyAnswer = z.object({
  id: z.string(),
  object: z.literal('list'),
  created: z.int(),
  model: z.string(),
  data: z.array(
    z.object({
      index: z.int(),
      label: z.string(),
      probs: z.array(z.number()).meta({ description: 'By label' }),
      num_classes: z.int(),
      labels: z.array(z.string()),
      scores: z.array(z.number()).meta({
        description: "Sums of the log-probabilities of the labels' tokens, in nats",
      }),
      truncated: z.int().meta({ description: 'Tokens of the text that were cut off' }),
    }),
  ),
  usage: usageAnswer,
})

export function classifyRoute({ limits }: ServeSettings): Route {
  return jsonRoute({
    method: 'POST',
    path: '/v1/classify',
    summary: "Labels of texts, by a prompt's own template and labels",
    body: classifyBody(limits),
    answer: classifyAnswer,
    handle: classify,
  })
}

async function classify(
  call: Call<ClassifyBody>,
): Promise<z.infer<typeof classifyAnswer>> {
  const { body, live, site } = call
  const prompt = promptOfCall(call, body.model)
  const inputs = inputsOf(body.input)
  const candidates = candidatesOf(body.candidates, inputs.length)
  const { labels } = body
  const params = { labels: 'labels', candidates: 'candidates' }
  const found = await ofRequest({ signal: live.signal, param: 'input', params }, () =>
    site.engine.classify({
      prompt,
      inputs,
      ...(labels && { labels }),
      ...(candidates && { candidates }),
      signal: live.signal,
    }),
  )
  return {
    id: `classify-${randomUUID()}`,
    object: 'list',
    created: Math.floor(Date.now() / 1000),
    model: body.model,
    data: found.map((one, index) => ({
      index,
      label: one.label,
      probs: [...one.probabilities],
      num_classes: one.labels.length,
      labels: [...one.labels],
      scores: [...one.scores],
      truncated: one.truncated,
    })),
    usage: usageOf(total(found.map(({ tokens }) => tokens)), 0),
  }
}

function inputsOf(input: Inputs): Input[] {
  if (!Array.isArray(input)) return [input]
  return typeof input[0] === 'number' ? [input as number[]] : (input as Input[])
}

function candidatesOf(
  candidates: ClassifyBody['candidates'],
  inputs: number,
): string[][] | undefined {
  if (candidates === undefined) return undefined
  if (typeof candidates[0] === 'string') {
    return Array.from({ length: inputs }, () => candidates as string[])
  }
  if (candidates.length === inputs) return candidates as string[][]
  throw new ApiError(
    422,
    `Expected candidates for each of ${inputs} inputs but received ${candidates.length} lists`,
    { param: 'candidates', code: 'invalid_value' },
  )
}
