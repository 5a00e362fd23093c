// Events between who makes them and who reads them, at a pace of his own. Knows no event.

export class EventStream<Event> implements AsyncIterable<Event> {
  readonly #waiting: Event[] = []
  readonly #leave: () => void
  #wake: () => void = () => {}
  #isOver = false
  #error: Error | undefined

  /** @param leave is called where the reader goes before the end */
  constructor(leave: () => void) {
    this.#leave = leave
  }

  push(event: Event): void {
    this.#waiting.push(event)
    this.#wake()
  }

  /** @param error that the reader gets once it has read what came before */
  end(error?: Error): void {
    this.#isOver = true
    this.#error = error
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Event> {
    try {
      for (;;) {
        for (let event = this.#waiting.shift(); event; event = this.#waiting.shift()) {
          yield event
        }
        if (this.#error !== undefined) throw this.#error
        if (this.#isOver) return
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    } finally {
      if (!this.#isOver) this.#leave()
    }
  }
}
