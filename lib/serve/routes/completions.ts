// POST /v1/completions: texts that are continued, in OpenAI's form, at once or as they grow.

import type { Generation } from '../../engine/index.js'
import type { ReadToken } from '../../inference/index.js'
import { ofRequest } from '../api-error.js'
import {
  Choice,
  type ChoiceAnswer,
  type CompletionAnswer,
  completionAnswer,
  headOf,
} from '../completion-answer.js'
import {
  type Completion,
  type CompletionBody,
  completionBody,
  completionOf,
} from '../completion-request.js'
import { sendEvents } from '../event-stream.js'
import { total, usageOf } from '../fields.js'
import { promptOfCall } from '../models.js'
import type { ServeSettings } from '../options.js'
import { type Call, jsonRoute, type Route } from '../site.js'

export function completionsRoute({ limits }: ServeSettings): Route {
  return jsonRoute({
    method: 'POST',
    path: '/v1/completions',
    summary: 'Continues texts; with stream: true as server-sent events',
    body: completionBody(limits),
    answer: completionAnswer,
    handle: complete,
  })
}

async function complete(call: Call<CompletionBody>) {
  const { body, live, site } = call
  const prompt = promptOfCall(call, body.model)
  const completion = completionOf(body, prompt, site.settings.limits)
  const asked = { signal: live.signal, param: 'prompt' }
  const work = await ofRequest(asked, () => begin(call, completion))
  const choices = choicesOf(call, completion, work.read)
  if (body.stream) return sendEvents(call, chunks(call, work, choices))
  return await whole(call, work, choices)
}

/** Texts that are given back or read as they are: fields are refused there. */
function plain(texts: Completion['texts']): (string | number[])[] {
  return texts.filter((text) => typeof text === 'string' || Array.isArray(text))
}

/** What the engine does for a completion. */
interface Work {
  /** Absent where nothing is generated. */
  readonly generation: Generation | undefined
  /** The given texts' own tokens, where they are asked for. */
  readonly read: readonly (readonly ReadToken[])[] | undefined
  /** Tokens that were given, each text's once. */
  readonly given: number
}

/** Asks for all that a completion needs; where a part of it fails, the others are given up. */
async function begin(
  { body, live, site: { engine } }: Call<CompletionBody>,
  { prompt, texts, n, rows }: Completion,
): Promise<Work> {
  const controller = new AbortController()
  const signal = AbortSignal.any([live.signal, controller.signal])
  const logProbabilities = body.logprobs ?? 0
  const isRead = rows.length === 0 || (body.echo && body.logprobs !== undefined)
  const reading = async () =>
    isRead
      ? await engine.read({ prompt, texts: plain(texts), logProbabilities, signal })
      : undefined
  const generating = async () =>
    rows.length === 0 ? undefined : await engine.generate({ rows, signal })
  try {
    const [read, generation] = await Promise.all([reading(), generating()])
    const given = generation?.given.filter((_, i) => i % n === 0) ?? read ?? []
    return { generation, read, given: total(given.map(({ length }) => length)) }
  } catch (error) {
    controller.abort()
    throw error
  }
}

function choicesOf(
  { body, live, site }: Call<CompletionBody>,
  { texts, n }: Completion,
  read: Work['read'],
): Choice[] {
  return texts.flatMap((text, t) =>
    Array.from({ length: n }, (_, i) => {
      const choice = new Choice({
        index: t * n + i,
        logProbabilities: body.logprobs !== undefined,
        tokens: site.tokens,
        metrics: site.metrics,
        startedAt: live.startedAt,
      })
      if (body.echo) {
        const [given] = plain([text]).map((own) =>
          typeof own === 'string' ? own : site.tokens.all(own),
        ) as [string]
        choice.echo(given, read?.[t] ?? [])
      }
      return choice
    }),
  )
}

async function whole(
  { body }: Call<CompletionBody>,
  work: Work,
  choices: readonly Choice[],
): Promise<CompletionAnswer> {
  const ended: ChoiceAnswer[] = []
  for await (const piece of pieces(work, choices, true)) ended[piece.index] = piece
  return {
    ...headOf(body.model),
    choices: ended,
    usage: usageOf(work.given, made(choices)),
  }
}

async function* chunks(
  { body }: Call<CompletionBody>,
  work: Work,
  choices: readonly Choice[],
): AsyncGenerator<CompletionAnswer> {
  const head = headOf(body.model)
  const tellsUsage = body.stream_options?.include_usage === true
  for await (const piece of pieces(work, choices, false)) {
    yield { ...head, choices: [piece], ...(tellsUsage && { usage: null }) }
  }
  if (!tellsUsage) return
  yield { ...head, choices: [], usage: usageOf(work.given, made(choices)) }
}

/** The choices' pieces as they come, or each as a whole. Leaving the loop ends the engine's work. */
async function* pieces(
  { generation }: Work,
  choices: readonly Choice[],
  isWhole: boolean,
): AsyncGenerator<ChoiceAnswer> {
  if (!isWhole) {
    for (const choice of choices) if (choice.isNew) yield choice.piece(null)
  }
  if (generation === undefined) {
    for (const choice of choices) yield choice.piece('length')
    return
  }
  for await (const event of generation) {
    const choice = choices[event.row] as Choice
    if (event.type === 'failed') throw event.error
    if (event.type === 'done') yield choice.piece(event.finishReason)
    else {
      choice.take(event)
      if (!isWhole && choice.isNew) yield choice.piece(null)
    }
  }
}

function made(choices: readonly Choice[]): number {
  return total(choices.map((choice) => choice.made))
}
