// How far a model's download is: a bar on a terminal, a line a file elsewhere; both on stderr. Knows
// download events, and no hub.

import { SingleBar } from 'cli-progress'
import type { DownloadEvent } from '../index.js'
import type { Output } from './output.js'

export interface DownloadProgress {
  event(event: DownloadEvent): void
  /** Takes the bar away. */
  stop(): void
}

export function showDownload(output: Output): DownloadProgress {
  return process.stderr.isTTY ? showBar(output) : showLines(output)
}

function showBar(output: Output): DownloadProgress {
  const bar = new SingleBar({
    stream: process.stderr,
    format: '{path} {bar} {done} of {all} · {eta_formatted} left',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 24,
    hideCursor: true,
    gracefulExit: false, // Ctrl-C is the command's own
  })
  let started = false
  return {
    event(event) {
      if (event.type === 'notice') {
        output.note(`lopt: ${event.message}`)
        return
      }
      const { path, totalBytes, totalDoneBytes } = event
      const shown = { path, done: megabytes(totalDoneBytes), all: megabytes(totalBytes) }
      if (started) bar.update(totalDoneBytes, shown)
      else bar.start(totalBytes, totalDoneBytes, shown)
      started = true
    },
    stop() {
      if (started) bar.stop()
    },
  }
}

function showLines(output: Output): DownloadProgress {
  const seen = new Set<string>()
  return {
    event(event) {
      if (event.type === 'notice') {
        output.note(`lopt: ${event.message}`)
        return
      }
      const { path, sizeBytes } = event
      if (seen.has(path)) return
      seen.add(path)
      output.note(`downloading ${path} (${megabytes(sizeBytes)})`)
    },
    stop() {},
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
