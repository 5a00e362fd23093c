// What a completion asks for: the fields of OpenAI's /v1/completions, and the rows that they mean. Knows no answer.

import { randomInt } from 'node:crypto'
import { z } from 'zod'
import type { GenerateInput, PromptName } from '../engine/index.js'
import { ApiError, unsupported } from './api-error.js'
import {
  isIds,
  isList,
  isRecord,
  isText,
  modelField,
  oneOf,
  userField,
} from './fields.js'
import type { ServeSettings } from './options.js'

type Limits = ServeSettings['limits']
type Fields = Record<string, string>
type Given = string | number[] | Fields
type Prompt = string | number[] | string[] | number[][]

const MOST_STOPS = 4
const MOST_STOP_CHARS = 1000
// Below it the choice is the likeliest token's in all but name, and logits divided by less could overflow.
const LEAST_TEMPERATURE = 1e-3

export function completionBody(limits: Limits) {
  const { maxInputs, maxChoices, maxTokens } = limits
  const text = isText(limits)
  const ids = isIds(limits)
  const isPrompt = (value: unknown): value is Prompt =>
    text(value) ||
    ids(value) ||
    isList(value, maxInputs, text) ||
    isList(value, maxInputs, ids)
  const isStop = (value: unknown): value is string =>
    text(value) && value !== '' && value.length <= MOST_STOP_CHARS
  const isStops = (value: unknown): value is string | string[] =>
    isStop(value) ||
    isList(value, MOST_STOPS, isStop) ||
    (Array.isArray(value) && value.length === 0)
  const record = isRecord(limits)
  const isFields = (value: unknown): value is Fields | Fields[] =>
    record(value) || isList(value, maxInputs, record)
  const isObject = (value: unknown): value is object =>
    typeof value === 'object' && !Array.isArray(value)
  return z.strictObject({
    model: modelField,
    prompt: oneOf(
      isPrompt,
      `a string, token ids, or a list of up to ${maxInputs} of either, each of ${limits.maxTextChars} characters or ids at most`,
      ['text', 'texts', 'ids', 'idLists'],
    )
      .optional()
      .meta({ description: 'Absent: a causal model begins with its end-of-text token' }),
    fields: oneOf(
      isFields,
      `an object of a template's fields, or a list of up to ${maxInputs} of them`,
      ['fields', 'fieldLists'],
    )
      .optional()
      .meta({
        description:
          "In the place of prompt: fields that are filled into the prompt's own template",
      }),
    max_tokens: z.int().min(0).max(maxTokens).default(16),
    min_tokens: z.int().min(0).max(maxTokens).default(0),
    temperature: z.number().min(0).max(100).default(1),
    top_p: z.number().gt(0).max(1).default(1),
    top_k: z
      .int()
      .min(-1)
      .max(2 ** 31)
      .default(0)
      .meta({ description: '0 or -1: all' }),
    n: z.int().min(1).max(maxChoices).default(1),
    best_of: z.int().min(1).max(maxChoices).optional().meta({ description: 'As n' }),
    stop: oneOf(isStops, `up to ${MOST_STOPS} strings that are not empty`, [
      'text',
      'texts',
    ]).optional(),
    seed: z
      .int()
      .min(0)
      .max(Number.MAX_SAFE_INTEGER - maxChoices)
      .optional()
      .meta({ description: 'Of the first choice; the next has the next. Absent: any' }),
    stream: z.boolean().default(false),
    stream_options: z
      .object({
        include_usage: z.boolean().default(false),
        include_obfuscation: z.boolean().optional(),
      })
      .optional(),
    logprobs: z.int().min(0).max(5).optional(),
    echo: z.boolean().default(false),
    repetition_penalty: z.number().min(0.01).max(100).default(1),
    frequency_penalty: z.number().optional().meta({ description: '0 alone' }),
    presence_penalty: z.number().optional().meta({ description: '0 alone' }),
    logit_bias: z
      .custom<object>(isObject, 'Expected an object')
      .optional()
      .meta({ type: 'object', description: 'Empty alone' }),
    suffix: z.string().optional().meta({ description: 'Empty alone' }),
    user: userField,
  })
}

export type CompletionBody = z.output<ReturnType<typeof completionBody>>

/** A completion as the engine has it. */
export interface Completion {
  readonly prompt: PromptName
  /** What is continued. */
  readonly texts: readonly Given[]
  /** Choices for each. */
  readonly n: number
  /** `texts` × `n`, those of a text next to each other; none where nothing is to be generated. */
  readonly rows: readonly GenerateInput[]
}

/** @throws ApiError 400 for fields that do not go together, or that this server does not do */
export function completionOf(
  body: CompletionBody,
  prompt: PromptName,
  { maxInputs }: Limits,
): Completion {
  checkTogether(body)
  const texts = textsOf(body)
  const { n } = body
  if (texts.length * n > maxInputs) {
    throw new ApiError(
      400,
      `Expected ${maxInputs} choices at most but received ${texts.length} prompts with n = ${n}`,
      { param: 'n', code: 'too_many_choices' },
    )
  }
  if (body.max_tokens === 0) return { prompt, texts, n, rows: [] }
  const { seed } = body
  const common = settingsOf(body, prompt)
  const rows = texts.flatMap((text) =>
    Array.from({ length: n }, (_, i) => {
      return { ...common, text, seed: seed === undefined ? randomInt(2 ** 31) : seed + i }
    }),
  )
  return { prompt, texts, n, rows }
}

function settingsOf(
  body: CompletionBody,
  prompt: PromptName,
): Omit<GenerateInput, 'text'> {
  const { temperature, logprobs, stop = [] } = body
  return {
    prompt,
    maxNewTokens: body.max_tokens,
    minNewTokens: body.min_tokens,
    temperature: temperature < LEAST_TEMPERATURE ? 0 : temperature,
    topK: Math.max(0, body.top_k),
    topP: body.top_p,
    repetitionPenalty: body.repetition_penalty,
    stop: typeof stop === 'string' ? [stop] : stop,
    ...(logprobs !== undefined && { logProbabilities: logprobs }),
  }
}

function textsOf({ fields, prompt = '' }: CompletionBody): readonly Given[] {
  if (fields !== undefined) return Array.isArray(fields) ? fields : [fields]
  if (typeof prompt === 'string') return [prompt]
  return typeof prompt[0] === 'number' ? [prompt as number[]] : (prompt as Given[])
}

function checkTogether(body: CompletionBody): void {
  const refuse = (param: string, message: string) => {
    throw new ApiError(400, message, { param, code: 'invalid_value' })
  }
  for (const name of ['frequency_penalty', 'presence_penalty'] as const) {
    if (body[name]) {
      throw unsupported(name, `${name} is not supported; repetition_penalty is`)
    }
  }
  if (Object.keys(body.logit_bias ?? {}).length > 0) {
    throw unsupported('logit_bias', 'logit_bias is not supported')
  }
  if (body.suffix) throw unsupported('suffix', 'Text is continued, not filled in')
  if ((body.best_of ?? body.n) !== body.n) {
    throw unsupported('best_of', 'best_of other than n is not supported')
  }
  if (body.stream_options !== undefined && !body.stream) {
    refuse('stream_options', 'stream_options has a meaning with stream: true alone')
  }
  if (body.fields !== undefined && body.prompt !== undefined) {
    refuse('fields', 'Give either prompt or fields, not both')
  }
  if (body.fields !== undefined && body.echo) {
    refuse('echo', 'echo gives a prompt back: with fields there is none')
  }
  if (body.max_tokens === 0 && !body.echo) {
    refuse('max_tokens', 'max_tokens may be 0 only with echo')
  }
  if (body.min_tokens > body.max_tokens) {
    refuse('min_tokens', 'Expected min_tokens to be max_tokens at most')
  }
}
