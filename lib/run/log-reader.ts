// Reads a run's log while it grows: the whole lines since the last look, a bounded stretch at a time. Knows no event.

import type { FileHandle } from 'node:fs/promises'

/** What is read at once: parsing it takes some milliseconds, and others have their turn in between. */
const PIECE_BYTES = 2 ** 16
const MOST_PIECES = 128
/** Of the end of what was read, which is looked at again: another log has other figures there. */
const KEPT_BYTES = 256
const NEWLINE = 0x0a

export interface LogLines {
  /** All lines so far are void: the log was cut, as by a run that goes on, or is another's. */
  restart(): void
  take(line: string): void
}

export class LogReader {
  #offset = 0
  /** The last bytes before `#offset`. */
  #kept: Buffer = Buffer.alloc(0)
  /** Whether `#offset` lies inside a line that is too long to be an event. */
  #isInside = false

  /**
   * Gives the lines that were added; of a line that is being written nothing.
   *
   * @returns whether that was all: if not, there is more to be read at once
   */
  async read(file: FileHandle, lines: LogLines): Promise<boolean> {
    if (!(await this.#isSame(file))) {
      this.#offset = 0
      this.#kept = Buffer.alloc(0)
      this.#isInside = false
      lines.restart()
    }
    const piece = Buffer.alloc(PIECE_BYTES)
    for (let pieces = 0; pieces < MOST_PIECES; pieces += 1) {
      const { bytesRead } = await file.read(piece, 0, PIECE_BYTES, this.#offset)
      this.#take(piece.subarray(0, bytesRead), lines)
      if (bytesRead < PIECE_BYTES) return true
    }
    return false
  }

  async #isSame(file: FileHandle): Promise<boolean> {
    const { length } = this.#kept
    if (length === 0) return true
    const now = Buffer.alloc(length)
    const { bytesRead } = await file.read(now, 0, length, this.#offset - length)
    return bytesRead === length && now.equals(this.#kept)
  }

  #take(piece: Buffer, lines: LogLines): void {
    const end = piece.lastIndexOf(NEWLINE) + 1
    if (end === 0) {
      if (piece.length < PIECE_BYTES) return
      this.#isInside = true
      this.#advance(piece)
      return
    }
    const whole = piece.toString('utf8', 0, end - 1).split('\n')
    // what is left of a line that was too long
    if (this.#isInside) whole.shift()
    this.#isInside = false
    for (const line of whole) if (line !== '') lines.take(line)
    this.#advance(piece.subarray(0, end))
  }

  #advance(piece: Buffer): void {
    this.#offset += piece.length
    this.#kept = Buffer.from(piece.subarray(-KEPT_BYTES))
  }
}
