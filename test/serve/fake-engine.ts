// An engine without a model, for tests of HTTP's details: a token is a character, what is made follows from the text and the
// seed, and it can be slow, full, or fail where it is told to.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Backbone, Tokenizer } from '../../lib/backbone/index.js'
import type {
  Classification,
  ClassifyRequest,
  EngineEvent,
  EngineStats,
  GenerateInput,
  GenerateRequest,
  Generation,
  Input,
  PromptName,
  ReadRequest,
  ServedPrompt,
} from '../../lib/engine/index.js'
import { tooLong } from '../../lib/engine/request-error.js'
import { LoptError } from '../../lib/errors.js'
import {
  type GenerateManyEvent,
  isFields,
  type ReadToken,
} from '../../lib/inference/index.js'
import type { Prompt } from '../../lib/prompt/index.js'
import type { Engine } from '../../lib/serve/index.js'
import { parseTemplate } from '../../lib/task/index.js'

/** The end-of-text token. */
const END = 0
/** A text that has this cannot be answered: its values are not finite. */
export const BROKEN = '☠'

const tokenizer: Tokenizer = {
  vocabSize: 2 ** 20,
  eosTokenId: END,
  files: {},
  encode: (text) => Array.from(text, (char) => char.codePointAt(0) as number),
  encodeBatch: (texts) => texts.map((text) => tokenizer.encode(text)),
  tokenize: async (texts) => tokenizer.encodeBatch(texts),
  decode: (ids, { skipSpecialTokens = true } = {}) =>
    ids
      .filter((id) => !skipSpecialTokens || id !== END)
      .map((id) => (id === END ? '<end>' : String.fromCodePoint(id)))
      .join(''),
  decodeBatch: (lists) => lists.map((ids) => tokenizer.decode(ids)),
}

export interface FakeOptions {
  /** Waits so long for each token, default 0. */
  tokenMs?: number
  /** Rows and texts at once; more are refused. */
  room?: number
  backbone?: Backbone
  /** Of the model, default 64. */
  positions?: number
}

export interface FakeEngine extends Engine {
  /** Changes how it behaves. */
  readonly how: FakeOptions
  /** Requests as they came. */
  readonly asked: (ClassifyRequest | GenerateRequest | ReadRequest)[]
  /** What is being worked on: 0 once everything is over. */
  readonly busy: number
}

const review: ServedPrompt = {
  name: 'review',
  method: 'lopt-1',
  length: 20,
  rank: 4,
  trainableParameters: 208,
  task: { template: '{text} It was', labels: ['good', 'bad', 'so-so'] },
  addedAt: new Date('2026-01-02T03:04:05Z'),
}
const pair: ServedPrompt = {
  name: 'pair',
  method: 'full',
  length: 5,
  trainableParameters: 160,
  task: { template: '{premise} So {hypothesis}?', labels: ['yes', 'no'] },
  addedAt: new Date('2026-01-02T03:04:06Z'),
}
const plain: ServedPrompt = {
  name: 'plain',
  method: 'prefix',
  length: 2,
  trainableParameters: 10,
  addedAt: new Date('2026-01-02T03:04:07Z'),
}

export function fakeEngine(how: FakeOptions = {}): FakeEngine {
  const prompts = new Map([review, pair, plain].map((prompt) => [prompt.name, prompt]))
  const listeners = new Set<(event: EngineEvent) => void>()
  const asked: FakeEngine['asked'] = []
  const totals = {
    requests: 0,
    rejected: 0,
    failed: 0,
    aborted: 0,
    tokensRead: 0,
    tokensMade: 0,
  }
  const { positions = 64 } = how
  let busy = 0
  let isClosed = false
  const tell = (event: EngineEvent) => {
    for (const listener of listeners) listener(event)
  }

  function admit(
    request: FakeEngine['asked'][number],
    names: readonly (PromptName | undefined)[],
    rows: number,
  ): () => void {
    asked.push(request)
    totals.requests += 1
    if (isClosed) throw new LoptError('ERR_CLOSED', 'The engine is closed')
    const missing = names.find((name) => name && !prompts.has(name))
    if (missing)
      throw new LoptError('ERR_UNKNOWN_PROMPT', `There is no prompt ${missing}`)
    if (busy + rows > (how.room ?? 1000)) {
      totals.rejected += 1
      tell({ type: 'rejected', prompt: names[0] ?? null })
      throw new LoptError('ERR_OVERLOADED', 'The queue is full')
    }
    busy += rows
    return () => {
      busy -= rows
    }
  }

  async function pause(signal: AbortSignal | undefined): Promise<void> {
    await (how.tokenMs ? sleep(how.tokenMs, undefined, { signal }) : sleep(0)).catch(
      () => {},
    )
    if (!signal?.aborted) return
    totals.aborted += 1
    throw new LoptError('ERR_ABORTED', 'The work was aborted', { cause: signal.reason })
  }

  async function classify(request: ClassifyRequest): Promise<Classification[]> {
    const { prompt = null, inputs, signal } = request
    const leave = admit(request, [prompt], inputs.length)
    try {
      await pause(signal)
      tell({ type: 'pass', work: 'score', rows: inputs.length, tokens: 9, seconds: 0.01 })
      return inputs.map((input, i) =>
        classification(request, input, i, prompts.get(prompt ?? '')),
      )
    } finally {
      leave()
    }
  }

  async function generate(request: GenerateRequest): Promise<Generation> {
    const { rows, signal } = request
    const leave = admit(
      request,
      rows.map(({ prompt }) => prompt),
      rows.length,
    )
    try {
      const given = rows.map(({ text }) => idsOf(text, positions))
      await pause(signal)
      // ends with its loop, or with its signal where nobody loops
      let isOver = false
      const end = () => {
        if (!isOver) leave()
        isOver = true
      }
      signal?.addEventListener('abort', end)
      return { given, [Symbol.asyncIterator]: () => events(request, end) }
    } catch (error) {
      leave()
      throw error
    }
  }

  async function* events(
    { rows, signal }: GenerateRequest,
    end: () => void,
  ): AsyncGenerator<GenerateManyEvent> {
    try {
      const texts = rows.map((row) => new FakeText(row, positions))
      for (let left = texts.length; left > 0; ) {
        await pause(signal)
        tell({ type: 'pass', work: 'decode', rows: left, tokens: left, seconds: 0.01 })
        for (const [row, text] of texts.entries()) {
          for (const event of text.next()) {
            totals.tokensMade += 1
            if (event.type !== 'token') left -= 1
            yield { ...event, row }
          }
        }
      }
    } finally {
      end()
    }
  }

  async function read(request: ReadRequest): Promise<ReadToken[][]> {
    const { prompt, texts, signal, logProbabilities = 0 } = request
    const leave = admit(request, [prompt], 1)
    try {
      await pause(signal)
      return texts.map((text) =>
        idsOf(text, positions).map((token, i) => {
          if (i === 0) return { token }
          return { token, ...chances(token, logProbabilities) }
        }),
      )
    } finally {
      leave()
    }
  }

  return {
    how,
    asked,
    get busy() {
      return busy
    },
    backbone: how.backbone ?? ({ tokenizer } as Backbone),
    backboneName: 'fake/model',
    prompts,
    classify,
    generate,
    read,
    addPrompt(name: string, { config, task, trainableParameters }: Prompt) {
      prompts.set(name, {
        name,
        method: config.method,
        length: config.length,
        ...(config.rank > 0 && { rank: config.rank }),
        trainableParameters,
        ...(task && {
          task: { template: task.template, labels: Object.keys(task.labels) },
        }),
        addedAt: new Date(),
      })
    },
    removePrompt(name) {
      const isRemoved = prompts.delete(name)
      if (isRemoved) tell({ type: 'removed', prompt: name })
      return isRemoved
    },
    stats: (): EngineStats => ({
      queuedRequests: 0,
      queuedTokens: 300,
      running: busy,
      slots: 16,
      cacheBytes: 1024,
      maxCacheBytes: 4096,
      cacheUse: 0.25,
      totals,
    }),
    observe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async close() {
      isClosed = true
    },
  }
}

function idsOf(given: GenerateInput['text'], positions: number): readonly number[] {
  const text = isFields(given) ? Object.values(given).join(' ') : given
  const ids =
    typeof text === 'string' ? tokenizer.encode(text) : (text as readonly number[])
  if (ids.some((id) => id >= tokenizer.vocabSize)) {
    throw new RangeError('rows[0]: Expected ids of the vocabulary')
  }
  if (ids.length >= positions) {
    throw tooLong(
      `rows[0]: Expected a text of 1..${positions - 1} tokens, which there are positions for, but received ${ids.length}`,
    )
  }
  return ids.length === 0 ? [END] : ids
}

/** Log-probabilities that follow from the token. */
function chances(token: number, count: number) {
  const logProbability = token === '∞'.codePointAt(0) ? -Infinity : -(token % 7) / 4
  const likeliest = Array.from({ length: count }, (_, i) => ({
    token: 'etaoin'.charCodeAt(i),
    logProbability: -0.1 * (i + 1),
  }))
  return { logProbability, ...(count > 0 && { likeliest }) }
}

/** Goes on with `abc…` from a letter that the seed names; greedily from `a`. */
class FakeText {
  readonly #row: GenerateInput
  readonly #room: number
  readonly #made: number[] = []
  #text = ''
  #isOver = false

  constructor(row: GenerateInput, positions: number) {
    this.#row = row
    this.#room = positions - idsOf(row.text, positions).length
  }

  next(): GenerateManyEventOfOne[] {
    if (this.#isOver) return []
    const { text, temperature = 0, seed = 0, maxNewTokens = 64, stop = [] } = this.#row
    const { logProbabilities } = this.#row
    if (typeof text === 'string' && text.includes(BROKEN) && this.#made.length === 1) {
      this.#isOver = true
      const error = new LoptError('ERR_NON_FINITE_LOSS', 'A logit is not finite')
      return [{ type: 'failed', error }]
    }
    const first = temperature > 0 ? seed : 0
    const token = 97 + ((first + this.#made.length) % 26)
    const piece = String.fromCharCode(token)
    this.#made.push(token)
    const isStopped = stop.some((one) => `${this.#text}${piece}`.endsWith(one))
    if (!isStopped) this.#text += piece
    const told = logProbabilities === undefined ? {} : chances(token, logProbabilities)
    const event = { type: 'token', token, text: isStopped ? '' : piece, ...told } as const
    const most = Math.min(maxNewTokens, this.#room)
    if (!isStopped && this.#made.length < most) return [event]
    this.#isOver = true
    const atEnd = this.#room < maxNewTokens ? 'positions' : 'length'
    return [
      event,
      {
        type: 'done',
        text: this.#text,
        tokens: this.#made,
        finishReason: isStopped ? 'stop' : atEnd,
      },
    ]
  }
}

type Without<T, Key extends PropertyKey> = T extends unknown ? Omit<T, Key> : never
type GenerateManyEventOfOne = Without<GenerateManyEvent, 'row'>

function classification(
  request: ClassifyRequest,
  input: Input,
  index: number,
  prompt: ServedPrompt | undefined,
): Classification {
  const given = request.candidates?.[index] ?? request.labels ?? prompt?.task?.labels
  if (given === undefined) {
    const error = new TypeError('Nothing says the labels: give `labels`')
    throw Object.assign(error, { field: 'labels' })
  }
  const labels = Array.isArray(given) ? (given as string[]) : Object.keys(given)
  const { fields } = parseTemplate(prompt?.task?.template ?? '{text}')
  const isText = typeof input === 'string'
  if (isText && fields.length > 1) {
    throw new TypeError(`The template has the fields ${fields.join(', ')}`)
  }
  if (!isText && !Array.isArray(input) && fields.some((field) => !(field in input))) {
    throw new RangeError(`inputs[${index}]: Expected the fields ${fields.join(', ')}`)
  }
  const text = isText
    ? input
    : Array.isArray(input)
      ? tokenizer.decode(input)
      : Object.values(input).join(' ')
  if (text === '') throw new LoptError('ERR_DATA', `inputs[${index}]: no tokens`)
  if (text.includes(BROKEN)) {
    throw new LoptError('ERR_NON_FINITE_LOSS', `inputs[${index}]: A score is not finite`)
  }
  const scores = labels.map((_, i) => -1 - ((text.length + i) % labels.length))
  const sum = scores.reduce((all, score) => all + Math.exp(score), 0)
  return {
    label: labels[scores.indexOf(Math.max(...scores))] as string,
    labels,
    probabilities: scores.map((score) => Math.exp(score) / sum),
    scores,
    tokens: Math.min(text.length, 40),
    truncated: Math.max(0, text.length - 40),
  }
}
