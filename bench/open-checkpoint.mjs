// Opening a large checkpoint: time and resident memory until it is open, and until the first logits.
// Peer: transformers' from_pretrained on the same folder, in the same run.
//
//   python test/fixtures/make-large-gpt2.py FOLDER       once: GPT-2 large's shape, 3 GB
//   PEER_PYTHON=…/bin/python npm run bench -- open-checkpoint FOLDER

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const RUNS = 3
const [folder, child] = process.argv.slice(2)
const here = fileURLToPath(import.meta.url)

if (folder === undefined) {
  console.log('needs the folder of a checkpoint: npm run bench -- open-checkpoint FOLDER')
} else if (child === undefined) {
  compare()
} else {
  console.log(JSON.stringify(await open()))
}

async function open() {
  const { loadBackbone } = await import('../dist/index.js')
  const { availableDevices, noGrad, tensor } = await import('../dist/torch.js')
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
  const { result: backbone, ...load } = await timed(() => loadBackbone(folder))
  const { result: _, ...firstLogits } = await timed(() =>
    noGrad(async () => {
      const ids = tensor([Array.from({ length: 16 }, (_, i) => i)], { dtype: 'int64' })
      const queries = tensor([[15]], { dtype: 'int64' })
      const x = await backbone.embed(ids)
      const { hidden } = await backbone.run({ x, positions: ids, queries })
      await (await backbone.head(hidden.select(0, 0))).read()
    }),
  )
  return { load, firstLogits }
}

function residentBytes() {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024
}

function compare() {
  const peer = fileURLToPath(
    new URL('../test/fixtures/time_from_pretrained.py', import.meta.url),
  )
  const programs = { lopt: [process.execPath, [here, folder, 'child']] }
  if (process.env.PEER_PYTHON)
    programs.transformers = [process.env.PEER_PYTHON, [peer, folder]]
  else console.log('no peer: set PEER_PYTHON to a Python with transformers')
  const runs = Object.fromEntries(Object.keys(programs).map((name) => [name, []]))
  for (let run = 0; run < RUNS; run += 1) {
    for (const [name, command] of Object.entries(programs))
      runs[name].push(json(...command))
  }
  for (const stage of ['load', 'firstLogits']) {
    for (const [name, found] of Object.entries(runs)) {
      const of = (figure) => median(found.map((figures) => figures[stage][figure]))
      console.log(
        `${stage.padEnd(12)} ${name.padEnd(13)} ${of('seconds').toFixed(2)} s  ${(of('VmRSS') / 1e6).toFixed(0)} MB resident`,
      )
    }
  }
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
}

function json(program, args) {
  const { stdout, status } = spawnSync(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`${program} ended with ${status}`)
  return JSON.parse(String(stdout).trim().split('\n').at(-1))
}
