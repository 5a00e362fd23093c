// POST /predict: which label a text has, in text-embeddings-inference's form.

import { z } from 'zod'
import type { Classification, Input } from '../../engine/index.js'
import { parseTemplate } from '../../task/index.js'
import { ApiError, ofRequest } from '../api-error.js'
import { isList, isRecord, isText, modelField, oneOf } from '../fields.js'
import { promptOfCall } from '../models.js'
import type { ServeSettings } from '../options.js'
import { type Call, jsonRoute, type Route } from '../site.js'

type Fields = Record<string, string>
/** A text, or two of them for a template of two fields. */
type Sequence = string[]
type Inputs = string | Sequence | Sequence[] | Fields | Fields[]

function predictBody(limits: ServeSettings['limits']) {
  const { maxInputs } = limits
  const text = isText(limits)
  const record = isRecord(limits)
  const isSequence = (value: unknown): value is Sequence => isList(value, 2, text)
  const isInputs = (value: unknown): value is Inputs =>
    text(value) ||
    record(value) ||
    isSequence(value) ||
    isList(value, maxInputs, isSequence) ||
    isList(value, maxInputs, record)
  return z.strictObject({
    inputs: oneOf(
      isInputs,
      `a string, a pair of them, or a list of up to ${maxInputs} lists with a string or a pair, such as [["one"], ["two"]]`,
      ['text', 'texts', 'textLists', 'fields', 'fieldLists'],
    ),
    raw_scores: z
      .boolean()
      .default(false)
      .meta({ description: 'Log-probabilities in place of probabilities' }),
    truncate: z
      .boolean()
      .optional()
      .meta({ description: 'false: a text that does not fit is refused' }),
    model: modelField
      .optional()
      .meta({ description: "A prompt's name; absent: the only prompt" }),
  })
}

type PredictBody = z.output<ReturnType<typeof predictBody>>

const prediction = z.array(z.object({ label: z.string(), score: z.number() }))
const predictAnswer = z.union([prediction, z.array(prediction)])

export function predictRoute({ limits }: ServeSettings): Route {
  return jsonRoute({
    method: 'POST',
    path: '/predict',
    summary: 'Labels of texts, the likeliest first; a list for a list of texts',
    body: predictBody(limits),
    answer: predictAnswer,
    handle: predict,
  })
}

async function predict(call: Call<PredictBody>): Promise<z.infer<typeof predictAnswer>> {
  const { body, live, site } = call
  const prompt = promptOfCall(call, body.model ?? onlyPrompt(call))
  const template = site.engine.prompts.get(prompt ?? '')?.task?.template
  const { inputs, isBatch } = inputsOf(body.inputs, template)
  const { signal } = live
  const found = await ofRequest({ signal, param: 'inputs' }, () =>
    site.engine.classify({ prompt, inputs, signal }),
  )
  if (body.truncate === false) refuseTruncated(found)
  const answers = found.map((one) => sorted(one, body.raw_scores))
  return isBatch ? answers : (answers[0] ?? [])
}

function onlyPrompt({ site: { engine } }: Call): string {
  const [name, ...others] = engine.prompts.keys()
  if (name !== undefined && others.length === 0) return name
  throw new ApiError(
    422,
    `Give model, a prompt's name: ${engine.prompts.size} prompts are served`,
    { param: 'model', code: 'invalid_value' },
  )
}

function inputsOf(
  inputs: Inputs,
  template: string | undefined,
): { inputs: Input[]; isBatch: boolean } {
  if (!Array.isArray(inputs)) return { inputs: [inputs], isBatch: false }
  if (typeof inputs[0] === 'string') {
    return { inputs: [inputOf(inputs as Sequence, template)], isBatch: false }
  }
  const all = (inputs as (Sequence | Fields)[]).map((one) =>
    Array.isArray(one) ? inputOf(one, template) : one,
  )
  return { inputs: all, isBatch: true }
}

/** A pair is what text-embeddings-inference reads a list of two strings as. */
function inputOf([first = '', second]: Sequence, template = '{text}'): Input {
  if (second === undefined) return first
  const { fields } = parseTemplate(template)
  if (fields.length === 2) {
    return { [fields[0] as string]: first, [fields[1] as string]: second }
  }
  throw new ApiError(
    422,
    `A list of two strings is a pair, for a template of two fields, and this one has ${fields.length}: several texts are [["one"], ["two"]]`,
    { param: 'inputs', code: 'invalid_value' },
  )
}

function refuseTruncated(found: readonly Classification[]): void {
  const long = found.findIndex(({ truncated }) => truncated > 0)
  if (long === -1) return
  const { truncated = 0 } = found[long] ?? {}
  throw new ApiError(422, `inputs[${long}] is ${truncated} tokens too long`, {
    param: 'inputs',
    code: 'invalid_value',
  })
}

function sorted(one: Classification, isRaw: boolean) {
  const scores = isRaw ? one.scores : one.probabilities
  return one.labels
    .map((label, i) => ({ label, score: scores[i] as number }))
    .sort((a, b) => b.score - a.score)
}
