// Makes the Python environment of the benches' peers, with pinned versions, in the cache folder:
// node bench/peer/setup.mjs

import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder, llamaFolder, onnxFolder, peerFolder } from '../driver/settings.mjs'

const requirements = fileURLToPath(new URL('requirements.txt', import.meta.url))
mkdirSync(cacheFolder, { recursive: true })
run('python3', ['-m', 'venv', peerFolder])
run(join(peerFolder, 'bin', 'python'), ['-m', 'pip', 'install', '-r', requirements])
// llama.cpp and onnxruntime bring a library of their own for the CPU: nothing is compiled.
install(llamaFolder, 'node-llama-cpp@3.22.1')
install(onnxFolder, 'onnxruntime-node@1.30.0')
console.log(`ready: ${peerFolder}, ${llamaFolder}, ${onnxFolder}`)

function install(folder, name) {
  mkdirSync(folder, { recursive: true })
  run('npm', ['install', '--prefix', folder, '--ignore-scripts', name])
}

function run(program, args) {
  const { status, error } = spawnSync(program, args, { stdio: 'inherit' })
  if (status === 0) return
  console.error(`${program} failed: ${error?.message ?? `status ${status}`}`)
  process.exit(1)
}
