// Long-lived child processes that answer a line with a line, and their interleaved comparison.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { basename, isAbsolute, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onnxFiles } from './onnx.mjs'
import {
  HOW_TO_MAKE_PEER,
  isQuick,
  llamaFolder,
  median,
  peerPython,
  RUNS,
} from './settings.mjs'

const path = (name) =>
  isAbsolute(name) ? name : fileURLToPath(new URL(name, import.meta.url))

/** @param root of another checkout, in place of this one */
export const loptSide = (job, root) =>
  startNode(
    root === undefined ? 'lopt-side.mjs' : join(root, 'bench/driver/lopt-side.mjs'),
    withSize(job),
  )

/** undefined where the peers' environment is not there. */
export async function peerSide(job) {
  const python = peerPython()
  if (python === undefined) {
    console.log(HOW_TO_MAKE_PEER)
    return undefined
  }
  return await startSide(python, [path('../peer/side.py'), JSON.stringify(job)])
}

/** undefined where llama.cpp, or the Python that writes its file, is not there. */
export async function llamaSide(job) {
  const python = peerPython()
  if (python === undefined || !existsSync(join(llamaFolder, 'node_modules'))) {
    console.log(HOW_TO_MAKE_PEER)
    return undefined
  }
  const gguf = join(llamaFolder, `${basename(job.model)}.gguf`)
  if (!existsSync(gguf))
    execFileSync(python, [path('../peer/gguf_of.py'), job.model, gguf])
  return await startNode('../peer/llama-side.mjs', { ...job, gguf })
}

/** Of `job.dtype`; undefined where onnxruntime, or the Python that writes its files, is not there. */
export async function onnxSide(job) {
  const files = onnxFiles(job.model)
  if (files === undefined) return undefined
  const config = JSON.parse(readFileSync(join(job.model, 'config.json'), 'utf8'))
  const own = { file: files[job.dtype], hiddenSize: config.n_embd }
  return await startNode('../peer/onnx-side.mjs', { ...job, ...own })
}

const startNode = (program, job) =>
  startSide(process.execPath, [path(program), JSON.stringify(job)])

function withSize(job) {
  return isQuick ? { ...job, sgemmSize: 256 } : job
}

/** Starts a program and waits until it says that it is ready. */
async function startSide(program, args) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error(`${program} ${args[0]} ended early`)
    return JSON.parse(value)
  }
  await next()
  return {
    ask: async (command) => {
      child.stdin.write(`${command}\n`)
      return await next()
    },
    end: async () => {
      const exit = once(child, 'exit')
      child.stdin.end()
      await exit
    },
  }
}

/**
 * Runs both sides in turn, A B A B…, and reports the medians.
 *
 * @param sides.lopt of `loptSide`
 * @param sides.peer of either kind, or undefined: then lopt's figures alone
 * @param options.atLeast the ratio that is aimed at
 * @param options.memory report peak memory too
 * @param options.peak compare with a large product's rate
 * @param options.tokens that a run makes: the rates are reported
 * @param options.tokensAtLeast the rate that is aimed at
 */
export async function compare(
  name,
  { lopt, peer },
  { atLeast, memory = false, peak = true, tokens, tokensAtLeast } = {},
) {
  const found = { lopt: [], peer: [] }
  for (let run = 0; run < RUNS; run += 1) {
    found.lopt.push(await lopt.ask('run'))
    if (peer !== undefined) found.peer.push(await peer.ask('run'))
  }
  const { flops } = peak ? await lopt.ask('products') : {}
  const { flopsPerSecond } = peak ? await lopt.ask('sgemm') : {}
  for (const side of [lopt, peer]) await side?.end()

  const seconds = (side) => median(found[side].map((one) => one.seconds))
  const own = seconds('lopt')
  const shown = (took) =>
    tokens === undefined
      ? `${took.toFixed(3)} s`
      : `${(tokens / took).toFixed(0)} tokens/s`
  const aim = tokensAtLeast === undefined ? `${atLeast}x` : `${tokensAtLeast} tokens/s`
  const row = {
    bench: name,
    lopt: shown(own),
    peer: peer === undefined ? '' : shown(seconds('peer')),
    ratio: peer === undefined ? '' : `${(seconds('peer') / own).toFixed(2)}x`,
    aim: (atLeast ?? tokensAtLeast) === undefined ? '' : aim,
    peak: peak ? `${((100 * flops) / flopsPerSecond / own).toFixed(0)} %` : '',
  }
  report(row)
  if (!memory) return
  const most = (side) => Math.max(...found[side].map((one) => one.peakMemoryBytes)) / 1e6
  report({
    bench: `${name}: peak memory`,
    lopt: `${most('lopt').toFixed(0)} MB`,
    peer: peer === undefined ? '' : `${most('peer').toFixed(0)} MB`,
    ratio: peer === undefined ? '' : `${(most('peer') / most('lopt')).toFixed(2)}x`,
    aim: 'less',
    peak: '',
  })
}

/** Prints a row, and hands it to `run.mjs` for the table at the end. */
export function report(row) {
  console.log(
    Object.entries(row)
      .filter(([, value]) => value !== '')
      .map(([key, value]) => (key === 'bench' ? value : `${key} ${value}`))
      .join('  '),
  )
  process.send?.(row)
}
