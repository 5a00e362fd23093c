// Work that waits: a line for each prompt, and turns by how much each had (start-time fair queueing: Goyal, Vin and Cheng
// 1996). Knows what work costs, nothing of models.

export interface Waiting {
  /** Whose line it stands in. */
  readonly line: string
  /** What it takes of its line's share, in tokens. */
  readonly cost: number
  /** Nobody waits for it any more. */
  readonly isGone: boolean
  /** What stands behind it in its line with the same group is taken with it: together they cost less. */
  readonly group?: object
}

interface Line<Work> {
  works: Work[]
  /** The first ones were taken. */
  taken: number
  /** Tokens that it had, counted as if it had always been there. */
  served: number
}

/** Taken works that a line keeps before it drops them: dropping one by one would move all others each time. */
const MOST_TAKEN = 256

export class FairQueue<Work extends Waiting> {
  readonly #lines = new Map<string, Line<Work>>()
  /** What the line that was last in turn had. */
  #clock = 0

  /** Whether nothing waits that somebody waits for. */
  get isEmpty(): boolean {
    return this.#next() === undefined
  }

  push(work: Work): void {
    const line = this.#lines.get(work.line)
    if (line) line.works.push(work)
    // Who comes late has no claim to what others had before.
    else this.#lines.set(work.line, { works: [work], taken: 0, served: this.#clock })
  }

  /**
   * Takes what is next, one after the other, until something does not fit.
   *
   * @param fits of the next one, with those that were taken; the first one is asked for too
   */
  take(fits: (work: Work, taken: readonly Work[]) => boolean): Work[] {
    const taken: Work[] = []
    let line: Line<Work> | undefined
    for (;;) {
      const group = taken.at(-1)?.group
      const next = line && firstOf(line)
      const goesOn = group !== undefined && next?.group === group
      if (!goesOn) line = this.#next()
      const work = line?.works[line.taken]
      if (line === undefined || work === undefined || !fits(work, taken)) return taken
      advance(line)
      if (!goesOn) this.#clock = line.served
      line.served += work.cost
      taken.push(work)
    }
  }

  /** The line whose turn it is. What is gone is forgotten where its turn would come. */
  #next(): Line<Work> | undefined {
    let next: Line<Work> | undefined
    for (const [name, line] of this.#lines) {
      if (firstOf(line) === undefined) this.#lines.delete(name)
      else if (next === undefined || line.served < next.served) next = line
    }
    return next
  }
}

/** What is next in a line, without what is gone. */
function firstOf<Work extends Waiting>(line: Line<Work>): Work | undefined {
  while (line.works[line.taken]?.isGone) advance(line)
  return line.works[line.taken]
}

function advance(line: Line<unknown>): void {
  line.taken += 1
  if (line.taken < MOST_TAKEN || line.taken * 2 < line.works.length) return
  line.works = line.works.slice(line.taken)
  line.taken = 0
}
