// Servers that run as processes of their own: lopt's and the peers'. Each is ready once it answers.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createPrompt, loadBackbone, savePrompt } from '../../dist/index.js'
import { cacheFolder, HOW_TO_MAKE_PEER, isQuick, peerPython } from './settings.mjs'

const path = (name) => fileURLToPath(new URL(name, import.meta.url))

/** What the labels of every task of these benches are: words of one token. */
export const LABELS = ['good', 'bad']
export const TEMPLATE = '{text} It was'

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Starts a program that listens, and waits until it answers at `ready`. */
export async function startServer(program, argsOf, { ready = '/health' } = {}) {
  const port = await freePort()
  const child = spawn(program, argsOf(port), { stdio: ['ignore', 'ignore', 'inherit'] })
  process.once('exit', () => child.kill('SIGKILL'))
  const url = `http://127.0.0.1:${port}`
  const isThere = async () => {
    try {
      return (await fetch(url + ready)).ok
    } catch {
      return false
    }
  }
  while (!(await isThere())) {
    if (child.exitCode !== null)
      throw new Error(`${program} ended with ${child.exitCode}`)
    await delay(100)
  }
  const end = async () => {
    child.kill('SIGTERM')
    if (child.exitCode === null) await once(child, 'exit')
  }
  return { url, pid: child.pid, end }
}

/** `lopt serve`. */
export function loptServer(model, prompts, flags = []) {
  const own = [
    '--backbone',
    model,
    '--prompts',
    prompts,
    '--log-level',
    'error',
    ...flags,
  ]
  return startServer(
    process.execPath,
    (port) => [path('../../dist/cli.js'), 'serve', ...own, '--port', `${port}`],
    { ready: '/ready' },
  )
}

/** transformers and PEFT behind FastAPI and uvicorn; undefined where its environment is not there. */
export async function fastApiServer(model, prompts) {
  const python = peerPython()
  if (python === undefined) {
    console.log(HOW_TO_MAKE_PEER)
    return undefined
  }
  const job = JSON.stringify({ model, prompts, P: 20, labels: LABELS })
  return await startServer(python, (port) => [path('../peer/serve.py'), job, `${port}`])
}

/** onnxruntime-node behind Fastify, without prompts. */
export function onnxServer(model, file, hiddenSize) {
  const job = JSON.stringify({ model, file, hiddenSize, labels: LABELS })
  return startServer(process.execPath, (port) => [
    path('../peer/onnx-server.mjs'),
    job,
    `${port}`,
  ])
}

/** A folder of prompts of 20 virtual tokens for a model, p0, p1, …. */
export async function promptsFolder(model, count) {
  const folder = join(cacheFolder, isQuick ? 'prompts-tiny' : 'prompts')
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const backbone = await loadBackbone(model)
  for (let i = 0; i < count; i += 1) {
    const prompt = createPrompt(backbone, {
      length: 20,
      rank: 4,
      seed: i,
      init: 'random',
    })
    const labels = Object.fromEntries(LABELS.map((label) => [label, label]))
    prompt.task = { template: TEMPLATE, labels, maxLength: 512 }
    await savePrompt(join(folder, `p${i}.lopt.safetensors`), prompt)
    prompt.dispose()
  }
  backbone.dispose()
  return folder
}
