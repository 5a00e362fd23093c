// Where a command's output goes: JSON lines and results on stdout, notes and warnings on stderr.
// Knows no command.

import type { Figures } from '../index.js'
import { isShare } from '../run/figures.js'

/** What a command writes through. */
export interface Output {
  readonly json: boolean
  /** One JSON object on a line of stdout with `--json`; nothing without it. */
  event(event: Readonly<Record<string, unknown>>): void
  /** A result for people: on stdout, or on stderr with `--json`. */
  print(text: string): void
  /** A piece of text on stdout as it is, for streaming; nothing with `--json`. */
  stream(text: string): void
  /** A note for people, on stderr. */
  note(text: string): void
  /** Sends notes elsewhere, such as above a progress bar, until the function it gives is called. */
  divertNotes(sink: (line: string) => void): () => void
}

/** An output on the process's own streams. */
export function createOutput(json: boolean): Output {
  const toStderr = (line: string) => {
    process.stderr.write(`${line}\n`)
  }
  let note = toStderr
  return {
    json,
    event(event) {
      if (json) process.stdout.write(`${JSON.stringify(event)}\n`)
    },
    print(text) {
      if (json) note(text)
      else process.stdout.write(`${text}\n`)
    },
    stream(text) {
      if (!json) process.stdout.write(text)
    },
    note: (text) => note(text),
    divertNotes(sink) {
      note = sink
      return () => {
        note = toStderr
      }
    },
  }
}

/** Rows as aligned columns, two spaces between them; `right` are the columns of figures. */
export function table(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string {
  const columns = Math.max(...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  const line = (row: readonly string[]) =>
    widths
      .map((width, column) => {
        const cell = row[column] ?? ''
        return right.includes(column) ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  return rows.map(line).join('\n')
}

/** The row of a table of results for always answering with one label. */
export function majorityFigures(majority: Figures & { label: string }): string[] {
  return [`always ${majority.label}`, '0', ...figureCells(majority)]
}

/** What people call the figures, in the order of columns. */
const FIGURE_NAMES = {
  perplexity: 'perplexity',
  accuracy: 'accuracy',
  macroF1: 'macro-F1',
  f1a: 'F1a',
  f1: 'F1',
  exactMatch: 'exact match',
  tokenF1: 'token F1',
  rouge1: 'ROUGE-1',
  rouge2: 'ROUGE-2',
  rougeL: 'ROUGE-L',
  bleu: 'BLEU',
  chrf: 'chrF',
  own: 'own figure',
} as const satisfies Record<keyof Figures, string>

/** The headings of the figures that there are. */
export function figureNames(figures: Figures): string[] {
  return shown(figures).map(([, name]) => name)
}

/** The figures that there are: shares as percentages, others as numbers. */
export function figureCells(figures: Figures): string[] {
  return shown(figures).map(([key]) => {
    const value = figures[key] as number
    return isShare(key) ? percent(value) : value.toPrecision(4)
  })
}

function shown(figures: Figures): [keyof Figures, string][] {
  const names = Object.entries(FIGURE_NAMES) as [keyof Figures, string][]
  return names.filter(([key]) => figures[key] !== undefined)
}

/** Text on one line, at most `width` characters of it. */
export function oneLine(text: string, width: number): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length <= width ? line : `${line.slice(0, width - 1)}…`
}

/** A share as a percentage with one decimal. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`
}

/** Seconds as people say them: `8.4 s`, `2 min 05 s`, `1 h 07 min`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?'
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  const two = (value: number) => String(value).padStart(2, '0')
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`
}

/** A count with commas between thousands. */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}
