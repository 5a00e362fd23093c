// The threads on which tokenizers live. Their library answers by promises only, while templates and
// prompts want ids at once: the calling thread hands a request over and sleeps until the answer is
// there. Knows no file.

import { createRequire } from 'node:module'
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from 'node:worker_threads'
import { LoptError } from '../errors.js'

/** What `load` finds out about a tokenizer. */
export interface LoadedTokenizer {
  /** The largest id plus one. */
  vocabSize: number
  /** The same without tokens that were added to the vocabulary. */
  baseVocabSize: number
  /** The token that a post-processor puts before a text. */
  firstTokenId?: number
  /** Ids of the tokens that were asked for, where they exist. */
  tokenIds: Record<string, number>
}

/** Ids of texts, one text's behind the other's: many lists would be slow to hand over. */
export interface FlatIds {
  readonly ids: Uint32Array
  /** Of each text. */
  readonly lengths: Uint32Array
}

/** A thread's methods. `id` names a tokenizer. */
export interface TokenizerMethods {
  load(id: number, json: string, tokens: readonly string[]): LoadedTokenizer
  encode(id: number, texts: readonly string[]): FlatIds
  decode(
    id: number,
    lists: readonly (readonly number[])[],
    skipSpecialTokens: boolean,
  ): string[]
  drop(id: number): void
}

type Method = keyof TokenizerMethods
type Arguments<M extends Method> = Parameters<TokenizerMethods[M]>
type Answer<M extends Method> = ReturnType<TokenizerMethods[M]>
type Reply = { value: unknown } | { error: string }

// Plain JavaScript in a string, so that it needs no file of its own beside the bundle.
const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads')
const { Tokenizer } = require(workerData.library)
const { port, signal } = workerData
const tokenizers = new Map()
const plain = { addSpecialTokens: false }
const find = (id) => {
  if (!tokenizers.has(id)) throw new Error('it was lost when its thread ended: load it again')
  return tokenizers.get(id)
}
const size = (vocabulary) => {
  let size = 0
  for (const id of Object.values(vocabulary)) size = Math.max(size, id + 1)
  return size
}
const methods = {
  async load(id, json, tokens) {
    const tokenizer = Tokenizer.fromString(json)
    tokenizer.disableTruncation()
    tokenizer.disablePadding()
    const bare = (await tokenizer.encode('a', null, plain)).getIds()
    const dressed = (await tokenizer.encode('a', null, { addSpecialTokens: true })).getIds()
    const hasFirst = dressed.length > bare.length && dressed[0] !== bare[0]
    const found = tokens.map((token) => [token, tokenizer.tokenToId(token)])
    tokenizers.set(id, tokenizer)
    return {
      vocabSize: size(tokenizer.getVocab(true)),
      baseVocabSize: size(tokenizer.getVocab(false)),
      firstTokenId: hasFirst ? dressed[0] : undefined,
      tokenIds: Object.fromEntries(found.filter(([, token]) => token !== null)),
    }
  },
  async encode(id, texts) {
    const tokenizer = find(id)
    const encoded =
      texts.length === 1
        ? [await tokenizer.encode(texts[0], null, plain)]
        : await tokenizer.encodeBatch(texts, plain)
    const lists = encoded.map((encoding) => encoding.getIds())
    const lengths = Uint32Array.from(lists, (list) => list.length)
    const ids = new Uint32Array(lengths.reduce((sum, length) => sum + length, 0))
    let at = 0
    for (const list of lists) {
      ids.set(list, at)
      at += list.length
    }
    return { ids, lengths }
  },
  async decode(id, lists, skip) {
    const tokenizer = find(id)
    return await Promise.all(lists.map((ids) => tokenizer.decode(ids, skip)))
  },
  drop: (id) => void tokenizers.delete(id),
}
async function answer({ method, args }) {
  try {
    return { value: await methods[method](...args) }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}
// Long texts one after the other: the library works on libuv's few threads, where many would leave no room for anyone's short one.
let last = Promise.resolve()
const isLong = ({ method, args }) => {
  if (method !== 'encode') return false
  return args[1].reduce((sum, text) => sum + text.length, 0) > workerData.longText
}
parentPort.on('message', async (request) => {
  const answered = isLong(request) ? last.then(() => answer(request)) : answer(request)
  if (isLong(request)) last = answered
  parentPort.postMessage({ number: request.number, reply: await answered })
})
port.on('message', async (request) => {
  port.postMessage(await answer(request))
  Atomics.add(signal, 0, 1)
  Atomics.notify(signal, 0)
})
`

// Far above what any text takes: only a thread that died does not answer in this time.
const ANSWER_TIMEOUT_MS = 120_000

/** Characters of a request's texts that take more than a few milliseconds. */
const LONG_TEXT = 2 ** 14

interface Running {
  readonly worker: Worker
  readonly port: MessagePort
  /** One number: answers given on `port` so far. */
  readonly signal: Int32Array
  readonly waiting: Map<
    number,
    { resolve(reply: Reply): void; reject(error: Error): void }
  >
}

export class TokenizerThread {
  #running: Running | undefined
  #requests = 0

  /** Off the event loop. The first request starts the thread. */
  async request<M extends Method>(method: M, ...args: Arguments<M>): Promise<Answer<M>> {
    this.#running ??= this.#start()
    const { worker, waiting } = this.#running
    const number = this.#requests++
    const reply = await new Promise<Reply>((resolve, reject) => {
      waiting.set(number, { resolve, reject })
      worker.ref()
      worker.postMessage({ number, method, args })
    })
    return unwrap(reply) as Answer<M>
  }

  /** Sleeps until the answer is there. Only after a `request` has shown that the thread works. */
  call<M extends Method>(method: M, ...args: Arguments<M>): Answer<M> {
    if (this.#running === undefined)
      throw new LoptError('ERR_MODEL_FILE', "The tokenizer's thread ended")
    const { port, signal } = this.#running
    const answered = Atomics.load(signal, 0)
    port.postMessage({ method, args })
    // A wake-up may be the one before's, when its answer was there before anyone slept: look again.
    let outcome = 'ok'
    while (outcome !== 'timed-out' && Atomics.load(signal, 0) === answered) {
      outcome = Atomics.wait(signal, 0, answered, ANSWER_TIMEOUT_MS)
    }
    const received = receiveMessageOnPort(port) as { message: Reply } | undefined
    if (received === undefined) {
      throw new LoptError(
        'ERR_MODEL_FILE',
        `The tokenizer did not answer within ${ANSWER_TIMEOUT_MS / 1000} s`,
      )
    }
    return unwrap(received.message) as Answer<M>
  }

  /** Frees a tokenizer; where no thread runs, nothing is left to free. */
  forget(id: number): void {
    if (this.#running !== undefined) this.request('drop', id).catch(() => {})
  }

  #start(): Running {
    const require = createRequire(import.meta.url)
    const signal = new Int32Array(new SharedArrayBuffer(4))
    const { port1: port, port2 } = new MessageChannel()
    const library = require.resolve('tokenizers')
    const worker = new Worker(PROGRAM, {
      eval: true,
      execArgv: [],
      workerData: { library, port: port2, signal, longText: LONG_TEXT },
      transferList: [port2],
    })
    const running: Running = { worker, port, signal, waiting: new Map() }
    const { waiting } = running
    const fail = (cause: unknown) => {
      if (this.#running === running) this.#running = undefined
      const message = `The tokenizer's thread ended: ${cause}`
      for (const { reject } of waiting.values()) {
        reject(new LoptError('ERR_MODEL_FILE', message, { cause }))
      }
      waiting.clear()
    }
    worker.on('message', ({ number, reply }: { number: number; reply: Reply }) => {
      waiting.get(number)?.resolve(reply)
      waiting.delete(number)
      if (waiting.size === 0) worker.unref()
    })
    worker.on('error', fail)
    worker.on('exit', (code) => fail(`exit code ${code}`))
    // An idle thread must not keep the process alive; `request` holds it while it waits.
    worker.unref()
    port.unref()
    return running
  }
}

function unwrap(reply: Reply): unknown {
  if ('value' in reply) return reply.value
  throw new LoptError('ERR_MODEL_FILE', reply.error)
}
