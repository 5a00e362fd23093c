// Reads a configuration file, YAML or JSON. Knows no setting.

import { readFileSync, statSync } from 'node:fs'
import { isMap, LineCounter, parseDocument } from 'yaml'
import { cannotRead } from '../errors.js'

// Far more than any grid that can be written by hand: a slip (a data file, a model) is told at once.
const MAX_BYTES = 2 ** 20

/**
 * What the file holds; an empty one holds nothing, `{}`.
 *
 * @throws LoptError `ERR_IO` when it cannot be read; RangeError with the line for what is no YAML.
 */
export function readConfigFile(file: string): unknown {
  const source = readText(file)
  const lineCounter = new LineCounter()
  const document = parseDocument(source, { lineCounter })
  const [error] = document.errors
  if (error) {
    const { line, col } = lineCounter.linePos(error.pos[0])
    const [what] = error.message.split(/ at line \d+/)
    throw new RangeError(`${file}:${line}:${col}: ${what}`)
  }
  if (document.contents === null) return {}
  if (!isMap(document.contents)) {
    throw new RangeError(`${file}: Expected names with values, such as \`steps: 1000\``)
  }
  try {
    return document.toJS()
  } catch (cause) {
    // aliases without end
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new RangeError(`${file}: ${reason}`, { cause })
  }
}

function readText(file: string): string {
  try {
    const { size } = statSync(file)
    if (size > MAX_BYTES) {
      throw new RangeError(
        `${file}: Expected at most ${MAX_BYTES} bytes of configuration but received ${size}`,
      )
    }
    return readFileSync(file, 'utf8')
  } catch (cause) {
    if (cause instanceof RangeError) throw cause
    throw cannotRead(file, cause)
  }
}
