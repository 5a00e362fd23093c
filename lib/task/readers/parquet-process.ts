// The process that decodes Parquet. A damaged file can make hyparquet loop, fill the memory or abort
// (V8 ends the process over an array of 2^27 values, in a worker too), so none of it runs in the caller's process.
// Knows no limits of files and nothing of what the rows should be.

import { type ChildProcess, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/** What a file says it holds, row group by row group. Nothing of it is checked. */
export interface ParquetSummary {
  rows: number
  groups: { rows: number; bytes: number }[]
}

/** The process's methods. `read` gives some rows of a group, from the `from`-th on. */
export interface ParquetMethods {
  summary(): ParquetSummary
  read(group: number, from: number): Record<string, unknown>[]
}

type Reply = { value: unknown } | { error: string }

// Plain JavaScript in a string, so that it needs no file of its own beside the bundle. The Parquet file is
// the standard input. What hyparquet rejects behind the back of the promise it gave counts as the answer. A
// thread sees that the caller was killed, which a decoder in a loop does not.
const PROGRAM = `
const { fstatSync, readSync } = require('node:fs')
const { Worker } = require('node:worker_threads')
const watch = () => {
  const { ppid } = process
  setInterval(() => process.ppid === ppid || process.kill(process.pid, 'SIGKILL'), 1000)
}
new Worker('(' + watch + ')()', { eval: true }).unref()
const BATCH = 500
const { size } = fstatSync(0)
const file = {
  byteLength: size,
  slice: async (start, end = size) => {
    const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start))
    return bytes.buffer.slice(0, readSync(0, bytes, 0, bytes.length, start))
  },
}
let hyparquet, compressors, metadata, decoded, rows
const methods = {
  async summary(libraries) {
    hyparquet = await import(libraries[0])
    compressors = (await import(libraries[1])).compressors
    metadata = await hyparquet.parquetMetadataAsync(file)
    const groups = metadata.row_groups.map(({ num_rows, total_byte_size }) => ({
      rows: Number(num_rows),
      bytes: Number(total_byte_size),
    }))
    return { rows: Number(metadata.num_rows), groups }
  },
  async read(group, from) {
    if (group !== decoded) {
      rows = undefined
      let rowStart = 0
      for (const { num_rows } of metadata.row_groups.slice(0, group)) rowStart += Number(num_rows)
      const rowEnd = rowStart + Number(metadata.row_groups[group].num_rows)
      rows = await hyparquet.parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd })
      decoded = group
    }
    return rows.slice(from, from + BATCH)
  },
}
const fail = (error) => process.send({ error: error instanceof Error ? error.message : String(error) })
process.on('unhandledRejection', fail)
process.on('uncaughtException', fail)
process.on('message', ({ method, args }) => {
  methods[method](...args).then((value) => process.send({ value })).catch(fail)
})
`

export interface ParquetProcess {
  /**
   * Asks the process, and ends it if there is no answer in time.
   *
   * @throws Error if the file is damaged, the process ended, or `timeoutMs` passed.
   */
  request<M extends keyof ParquetMethods>(
    method: M,
    args: Parameters<ParquetMethods[M]>,
    timeoutMs: number,
  ): Promise<ReturnType<ParquetMethods[M]>>
  end(): void
}

// None must outlive the caller.
const running = new Set<ChildProcess>()
function endAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

/** Starts a process that reads the open file `fd` and may use `heapMiB` of memory for its rows. */
export function startParquetProcess(fd: number, heapMiB: number): ParquetProcess {
  const require = createRequire(import.meta.url)
  const libraries = ['hyparquet', 'hyparquet-compressors'].map(
    (name) => pathToFileURL(require.resolve(name)).href,
  )
  const child = spawn(
    process.execPath,
    [`--max-old-space-size=${heapMiB}`, '--eval', PROGRAM],
    { stdio: [fd, 'ignore', 'ignore', 'ipc'], serialization: 'advanced' },
  )
  let answer: (reply: Reply) => void = () => {}
  let ended: Reply | undefined
  const endWith = (error: string) => {
    ended ??= { error }
    answer(ended)
  }
  child.on('message', (reply: Reply) => answer(reply))
  child.on('error', (error) => endWith(`its decoder failed: ${error.message}`))
  child.on('exit', (code, signal) => {
    running.delete(child)
    endWith(
      `its decoder ended (${signal ?? `exit code ${code}`}): the file is damaged, or a row group of it needs more than ${heapMiB} MiB`,
    )
  })
  // A decoder in a loop hears nothing milder.
  const end = () => void child.kill('SIGKILL')
  if (running.size === 0) process.off('exit', endAll).once('exit', endAll)
  running.add(child)
  // An idle decoder must not keep the process alive; `request` holds it while it waits.
  const hold = (held: boolean) => {
    for (const handle of [child, child.channel]) held ? handle?.ref() : handle?.unref()
  }
  hold(false)
  return {
    async request(method, args, timeoutMs) {
      hold(true)
      const reply = await new Promise<Reply>((resolve) => {
        const timer = setTimeout(() => {
          endWith(`its decoder did not come to an end within ${timeoutMs} ms`)
          end()
        }, timeoutMs)
        answer = (given) => {
          clearTimeout(timer)
          resolve(given)
        }
        if (ended !== undefined) return answer(ended)
        child.send(
          { method, args: method === 'summary' ? [libraries] : args },
          (error) => {
            if (error !== null) endWith(`its decoder failed: ${error.message}`)
          },
        )
      })
      hold(false)
      if ('error' in reply) throw new Error(reply.error)
      return reply.value as ReturnType<ParquetMethods[typeof method]>
    },
    end,
  }
}
