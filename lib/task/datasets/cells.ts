// A record's values by name, checked as they are read: messages say file, row and field. Knows no data
// set.

import { LoptError } from '../../errors.js'
import type { FileRecord } from '../readers/jsonl.js'

export class Cells {
  readonly source: { readonly file: string; readonly line: number }
  readonly #record: FileRecord['record']
  readonly #path: string

  constructor(
    record: FileRecord['record'],
    source: { readonly file: string; readonly line: number },
    path = '',
  ) {
    this.#record = record
    this.source = source
    this.#path = path
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#record, name)
  }

  /** @throws LoptError `ERR_DATA`, as all of these do. */
  text(name: string): string {
    const value = this.#value(name)
    return typeof value === 'string' ? value : this.#wrong(name, 'text', value)
  }

  /** A place in a text or an index: an integer of 0 or more; text of digits, as in CSV and TSV, too. */
  integer(name: string): number {
    const value = this.#value(name)
    const digits = typeof value === 'string' && /^\d{1,15}$/.test(value)
    const number = digits ? Number(value) : value
    if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0) {
      return number
    }
    return this.#wrong(name, 'an integer of 0 or more', value)
  }

  /** A label by its name, by its index among `labels`, or as true or false. */
  label(name: string, labels: readonly string[]): string {
    const value = this.#value(name)
    if (typeof value === 'string' && labels.includes(value)) return value
    const index =
      typeof value === 'boolean'
        ? Number(value)
        : typeof value === 'string' && /^\d$/.test(value)
          ? Number(value)
          : value
    const label = typeof index === 'number' ? labels[index] : undefined
    return label ?? this.#wrong(name, `one of ${labels.join(', ')}`, value)
  }

  object(name: string): Cells {
    const value = this.#value(name)
    return isRecord(value)
      ? this.#inner(name, value)
      : this.#wrong(name, 'an object', value)
  }

  objects(name: string): Cells[] {
    return this.#list(name).map((value, i) =>
      isRecord(value)
        ? this.#inner(`${name}[${i}]`, value)
        : this.#wrong(`${name}[${i}]`, 'an object', value),
    )
  }

  texts(name: string): string[] {
    return this.#list(name).map((value, i) =>
      typeof value === 'string' ? value : this.#wrong(`${name}[${i}]`, 'text', value),
    )
  }

  /** @throws LoptError `ERR_DATA` saying where. */
  refuse(why: string): never {
    const { file, line } = this.source
    throw new LoptError('ERR_DATA', `${file}:${line}: ${why}`)
  }

  #inner(name: string, value: FileRecord['record']): Cells {
    return new Cells(value, this.source, `${this.#path}${name}.`)
  }

  #list(name: string): unknown[] {
    const value = this.#value(name)
    return Array.isArray(value) ? value : this.#wrong(name, 'a list', value)
  }

  #value(name: string): unknown {
    if (this.has(name)) return this.#record[name]
    const names = Object.keys(this.#record).slice(0, 10)
    return this.refuse(
      `Missing field "${this.#path}${name}"; the row has ${names.join(', ') || 'no fields'}`,
    )
  }

  #wrong(name: string, expected: string, value: unknown): never {
    const shown = JSON.stringify(value) ?? String(value)
    const short = shown.length > 60 ? `${shown.slice(0, 60)}…` : shown
    return this.refuse(
      `Expected field "${this.#path}${name}" to be ${expected} but received ${short}`,
    )
  }
}

function isRecord(value: unknown): value is FileRecord['record'] {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
