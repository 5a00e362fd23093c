// The requests that are being answered: each ends with its client, with the server, or with a client that takes nothing of its
// answer. Knows no route.

import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { draining } from './api-error.js'

/** A request that is being answered. */
export interface LiveRequest {
  /** Aborted once its client has gone, or the server will not wait any longer. */
  readonly signal: AbortSignal
  readonly startedAt: number
  /** Whether the server waits for it when it closes. */
  isWork: boolean
  /** The prompt that it names, for metrics and the log. */
  model: string | undefined
  /** What came of it, where its status does not say: an answer that failed in the middle. */
  failure: number | undefined
}

/** What a request came to. 499 is nginx's status for a client that went away. */
export type Outcome = (live: LiveRequest, status: number, seconds: number) => void

interface Open {
  readonly live: LiveRequest
  readonly controller: AbortController
  readonly reply: FastifyReply
  /** Bytes that its connection had taken, and since when it took no more. */
  written: number
  since: number
}

/** How long a request that was told to end may take for it. */
const LAST_WORDS_MS = 1000

export class LiveRequests {
  readonly #open = new Map<object, Open>()
  /** What ends the requests of a connection. */
  readonly #bySocket = new WeakMap<Socket, Set<() => void>>()
  readonly #stallMs: number
  readonly #watch: NodeJS.Timeout
  #idle: (() => void) | undefined
  #isDraining = false

  constructor(stallMs: number) {
    this.#stallMs = stallMs
    this.#watch = setInterval(() => this.#cutStalled(), Math.min(1000, stallMs / 4))
    this.#watch.unref()
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  begin(request: FastifyRequest, reply: FastifyReply, outcome: Outcome): void {
    const { raw } = reply
    const { socket } = request.raw
    const controller = new AbortController()
    const now = performance.now()
    const live: LiveRequest = {
      signal: controller.signal,
      startedAt: now,
      isWork: false,
      model: undefined,
      failure: undefined,
    }
    this.#open.set(request.raw, { live, controller, reply, written: 0, since: now })
    let isFinished = false
    raw.once('finish', () => {
      isFinished = true
    })
    const end = () => {
      if (!this.#open.delete(request.raw)) return
      this.#leave(socket, end)
      if (!isFinished) controller.abort()
      const status = isFinished ? (live.failure ?? raw.statusCode) : 499
      outcome(live, status, (performance.now() - now) / 1000)
      if (this.#working === 0) this.#idle?.()
    }
    // comes once all is sent, or the client has gone
    raw.once('close', end)
    // but not for an answer that waits behind another one of its connection
    this.#enter(socket, end)
  }

  #enter(socket: Socket, end: () => void): void {
    const ends = this.#bySocket.get(socket)
    if (ends !== undefined) {
      ends.add(end)
      return
    }
    const own = new Set([end])
    this.#bySocket.set(socket, own)
    socket.once('close', () => {
      for (const one of [...own]) one()
    })
  }

  #leave(socket: Socket, end: () => void): void {
    this.#bySocket.get(socket)?.delete(end)
  }

  of(request: FastifyRequest): LiveRequest {
    const open = this.#open.get(request.raw)
    if (open !== undefined) return open.live
    // its client went away before anything was done for it
    return {
      signal: AbortSignal.abort(),
      startedAt: performance.now(),
      isWork: false,
      model: undefined,
      failure: undefined,
    }
  }

  get #working(): number {
    let count = 0
    for (const { live } of this.#open.values()) if (live.isWork) count += 1
    return count
  }

  /** From now on the server is closing: waits for requests that do work, and ends those that take longer. */
  async drain(graceMs: number): Promise<void> {
    this.#isDraining = true
    await this.#untilIdle(graceMs)
    for (const { live, controller } of this.#open.values()) {
      if (live.isWork) controller.abort(draining())
    }
    await this.#untilIdle(LAST_WORDS_MS)
    clearInterval(this.#watch)
  }

  async #untilIdle(ms: number): Promise<void> {
    if (this.#working === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#idle = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#idle = undefined
  }

  /** A reader that takes nothing keeps what waits for it in memory, and its row in a slot. */
  #cutStalled(): void {
    const now = performance.now()
    for (const open of this.#open.values()) {
      const { raw } = open.reply
      const written = raw.socket?.bytesWritten ?? 0
      if (raw.writableLength === 0 || written !== open.written) {
        open.written = written
        open.since = now
      } else if (now - open.since > this.#stallMs) {
        open.reply.log.warn('a client takes nothing of its answer: its connection is cut')
        raw.destroy()
      }
    }
  }
}
