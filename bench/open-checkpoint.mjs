// Opening a large checkpoint: time and resident memory until it is open and until the first logits,
// and the memory of four processes that have it open at once; in float32, and in int8. Peer: transformers'
// from_pretrained on the same folder, in the same run.
//
//   python test/fixtures/make-large-gpt2.py FOLDER       once: GPT-2 large's shape, 3 GB
//   python test/fixtures/make-large-t5.py FOLDER         or T5-large's
//   PEER_PYTHON=…/bin/python npm run bench -- open-checkpoint FOLDER

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const RUNS = 7
const PROCESSES = 4
const [folder, dtype] = process.argv.slice(2)
const here = fileURLToPath(import.meta.url)

if (folder === undefined) {
  console.log('needs the folder of a checkpoint: npm run bench -- open-checkpoint FOLDER')
} else if (dtype === undefined) {
  await compare()
} else {
  console.log(JSON.stringify(await open()))
  await once(process.stdin.resume(), 'end') // its memory is looked at meanwhile
}

async function open() {
  const { loadBackbone } = await import('../dist/index.js')
  const { availableDevices, noGrad } = await import('../dist/torch.js')
  availableDevices() // libtorch is loaded: the peer's import is not counted either
  const timed = async (work) => {
    const started = performance.now()
    const result = await work()
    return {
      result,
      seconds: (performance.now() - started) / 1000,
      VmRSS: residentBytes(),
    }
  }
  const { result: backbone, ...load } = await timed(() => loadBackbone(folder, { dtype }))
  const { result: _, ...firstLogits } = await timed(() =>
    noGrad(async () => {
      const hidden = await lastHidden(backbone) // [1, H]
      await (await backbone.head(hidden)).read()
    }),
  )
  return { load, firstLogits }
}

/** Of 16 tokens, at the last one; for a T5 at the decoder's first. */
async function lastHidden(backbone) {
  const { tensor } = await import('../dist/torch.js')
  const int64 = (ids) => tensor([ids], { dtype: 'int64' })
  const ids = int64(Array.from({ length: 16 }, (_, i) => i))
  const x = await backbone.embed(ids)
  if (backbone.kind === 'causal') {
    const { hidden } = await backbone.run({ x, positions: ids, queries: int64([15]) })
    return hidden.select(0, 0)
  }
  const cross = await backbone.crossKeyValues(await backbone.encode({ x }))
  const { hidden } = await backbone.decode({ x: await backbone.embed(int64([0])), cross })
  return hidden.select(0, 0)
}

function residentBytes() {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024
}

async function compare() {
  const peer = fileURLToPath(
    new URL('../test/fixtures/time_from_pretrained.py', import.meta.url),
  )
  const programs = {
    lopt: [process.execPath, [here, folder, 'float32']],
    'lopt, int8': [process.execPath, [here, folder, 'int8']],
  }
  if (process.env.PEER_PYTHON)
    programs.transformers = [process.env.PEER_PYTHON, [peer, folder, '--hold']]
  else console.log('no peer: set PEER_PYTHON to a Python with transformers')
  const runs = Object.fromEntries(Object.keys(programs).map((name) => [name, []]))
  for (let run = 0; run < RUNS; run += 1) {
    for (const [name, command] of Object.entries(programs)) {
      const opened = await start(...command)
      runs[name].push(opened.figures)
      await opened.end()
    }
  }
  for (const stage of ['load', 'firstLogits']) {
    for (const [name, found] of Object.entries(runs)) {
      const of = (figure) => median(found.map((figures) => figures[stage][figure]))
      console.log(
        `${stage.padEnd(12)} ${name.padEnd(13)} ${of('seconds').toFixed(2)} s  ${(of('VmRSS') / 1e6).toFixed(0)} MB resident`,
      )
    }
  }
  for (const [name, command] of Object.entries(programs)) {
    const all = []
    for (let i = 0; i < PROCESSES; i += 1) all.push(await start(...command))
    const bytes = all.map(({ pid }) => proportionalBytes(pid))
    for (const { end } of all) await end()
    const sum = bytes.reduce((a, b) => a + b)
    console.log(
      `${PROCESSES} processes  ${name.padEnd(13)} ${(sum / 1e6).toFixed(0)} MB together, shared pages counted once`,
    )
  }
}

/** Runs a program that prints a line of figures, and waits until its input ends. */
async function start(program, args) {
  const process = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: process.stdout })
  const [line] = await Promise.race([
    once(lines, 'line'),
    once(process, 'exit').then(([status]) => {
      throw new Error(`${program} ended with ${status}`)
    }),
  ])
  const end = async () => {
    const exit = once(process, 'exit')
    process.stdin.end()
    await exit
  }
  return { pid: process.pid, figures: JSON.parse(line), end }
}

/** Memory of a process, each shared page divided by the processes that share it. */
function proportionalBytes(pid) {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)[1]) * 1024
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
}
