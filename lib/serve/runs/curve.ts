// A curve of as many points as a page can show, whatever was added: each is the mean of a stretch, and stretches grow.
// Knows no run.

/** A step, and a value there. */
export type Point = [step: number, value: number]

/** Twice as many become half of it: 250 to 500 once there were so many. */
const MOST_POINTS = 500

export class Curve {
  #points: Point[] = []
  /** Values a point. */
  #width = 1
  /** The stretch that is not full yet. */
  #step = 0
  #sum = 0
  #count = 0

  add(step: number, value: number): void {
    this.#step = step
    this.#sum += value
    this.#count += 1
    if (this.#count < this.#width) return
    this.#points.push(this.#open)
    this.#sum = 0
    this.#count = 0
    if (this.#points.length === MOST_POINTS) this.#halve()
  }

  get points(): Point[] {
    return this.#count === 0 ? [...this.#points] : [...this.#points, this.#open]
  }

  get #open(): Point {
    return [this.#step, this.#sum / this.#count]
  }

  #halve(): void {
    const pairs: Point[] = []
    for (let i = 0; i < this.#points.length; i += 2) {
      const [first, second] = this.#points.slice(i, i + 2) as [Point, Point]
      pairs.push([second[0], (first[1] + second[1]) / 2])
    }
    this.#points = pairs
    this.#width *= 2
  }
}
