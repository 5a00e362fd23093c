// Work that waits: a line for each prompt, and turns by how many tokens each had (start-time fair queueing: Goyal, Vin and Cheng
// 1996). Knows tokens, nothing of models.

export interface Waiting {
  /** Whose line it stands in. */
  readonly line: string
  readonly tokens: number
}

interface Line<Work> {
  readonly works: Work[]
  /** Tokens that it had, counted as if it had always been there. */
  served: number
}

export class FairQueue<Work extends Waiting> {
  /** Those that are not empty. */
  readonly #lines = new Map<string, Line<Work>>()
  /** What the line that was last in turn had. */
  #clock = 0

  get isEmpty(): boolean {
    return this.#lines.size === 0
  }

  push(work: Work): void {
    const line = this.#lines.get(work.line)
    if (line) line.works.push(work)
    // Who comes late has no claim to what others had before.
    else this.#lines.set(work.line, { works: [work], served: this.#clock })
  }

  /**
   * Takes what is next, one after the other, until something does not fit.
   *
   * @param fits of the next one, with those that were taken; the first one is asked for too
   */
  take(fits: (work: Work, taken: readonly Work[]) => boolean): Work[] {
    const taken: Work[] = []
    for (;;) {
      const line = this.#next()
      const work = line?.works[0]
      if (line === undefined || work === undefined || !fits(work, taken)) return taken
      line.works.shift()
      this.#clock = line.served
      line.served += work.tokens
      taken.push(work)
      if (line.works.length === 0) this.#lines.delete(work.line)
    }
  }

  /** Forgets all that is so. */
  remove(isGone: (work: Work) => boolean): void {
    for (const [name, line] of this.#lines) {
      const kept = line.works.filter((work) => !isGone(work))
      if (kept.length === 0) this.#lines.delete(name)
      else line.works.splice(0, line.works.length, ...kept)
    }
  }

  #next(): Line<Work> | undefined {
    let next: Line<Work> | undefined
    for (const line of this.#lines.values()) {
      if (next === undefined || line.served < next.served) next = line
    }
    return next
  }
}
