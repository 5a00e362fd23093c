// TensorBoard event files: records of numbers by tag and step. Knows the format, and of training only
// which numbers an event has. Sources: tensorflow/core/util/event.proto, framework/summary.proto, and
// lib/io/record_writer.h (length, CRC-32C of it, bytes, CRC-32C of them).

import { appendFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import crc32c from 'crc-32/crc32c.js'
import { LoptError } from '../errors.js'
import type { LoggedFailure, TrainEvent } from './events.js'
import { figuresOf } from './figures.js'

/** The numbers of an event, by tag; null for events that have none. */
export function scalarsOf(
  event: TrainEvent | LoggedFailure,
): { step: number; scalars: Record<string, number> } | null {
  if (event.type === 'step') {
    const { step, loss, gradNorm, learningRate } = event
    return {
      step,
      scalars: {
        'train/loss': loss,
        'train/gradient_norm': gradNorm,
        'train/learning_rate': learningRate,
      },
    }
  }
  if (event.type === 'eval') {
    const { step, split, loss } = event
    const figures = Object.entries(figuresOf(event)).map(([name, value]) => [
      `${split}/${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`,
      value,
    ])
    return { step, scalars: { [`${split}/loss`]: loss, ...Object.fromEntries(figures) } }
  }
  return null
}

/**
 * Writes one event file of a run. A run that goes on begins another file: its first record tells
 * TensorBoard to forget what earlier files say of the steps from there on.
 */
export class EventFile {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** @param step the first step that this file is about */
  static async begin(folder: string, step: number): Promise<EventFile> {
    const seconds = Date.now() / 1000
    // The name that TensorBoard looks for; files of one run are read in the order of their names.
    const order = seconds.toFixed(3).padStart(14, '0')
    const name = `events.out.tfevents.${order}.${hostname()}.${process.pid}`
    const file = new EventFile(join(folder, name))
    await file.#append(
      Buffer.concat([
        record([double(1, seconds), text(3, 'brain.Event:2')]),
        record([double(1, seconds), integer(2, step), bytes(7, integer(1, 1))]), // session log: start
      ]),
    )
    return file
  }

  async write(step: number, scalars: Readonly<Record<string, number>>): Promise<void> {
    const values = Object.entries(scalars).map(([tag, value]) =>
      bytes(1, Buffer.concat([text(1, tag), float(2, value)])),
    )
    await this.#append(
      record([
        double(1, Date.now() / 1000),
        integer(2, step),
        bytes(5, Buffer.concat(values)),
      ]),
    )
  }

  async #append(data: Buffer): Promise<void> {
    try {
      await appendFile(this.path, data)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new LoptError('ERR_IO', `Cannot write ${this.path}: ${reason}`, { cause })
    }
  }
}

function record(fields: readonly Buffer[]): Buffer {
  const data = Buffer.concat(fields)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(data.length))
  return Buffer.concat([length, maskedCrc(length), data, maskedCrc(data)])
}

/** Rotated and shifted, as record_writer.h says: a CRC of data that holds CRCs is a weak one. */
function maskedCrc(data: Buffer): Buffer {
  const crc = crc32c.buf(data) >>> 0
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
  const out = Buffer.alloc(4)
  out.writeUInt32LE(masked)
  return out
}

// Fields of protocol buffers: a key (number and wire type), then the value.

function varint(value: number): Buffer {
  const out: number[] = []
  let rest = value
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  return Buffer.from([...out, rest])
}

function field(number: number, wireType: number, value: Buffer): Buffer {
  return Buffer.concat([varint(number * 8 + wireType), value])
}

function integer(number: number, value: number): Buffer {
  return field(number, 0, varint(value))
}

function double(number: number, value: number): Buffer {
  const out = Buffer.alloc(8)
  out.writeDoubleLE(value)
  return field(number, 1, out)
}

function float(number: number, value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeFloatLE(value)
  return field(number, 5, out)
}

function bytes(number: number, value: Buffer): Buffer {
  return field(number, 2, Buffer.concat([varint(value.length), value]))
}

function text(number: number, value: string): Buffer {
  return bytes(number, Buffer.from(value))
}
