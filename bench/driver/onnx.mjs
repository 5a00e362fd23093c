// onnxruntime's models of GPT-2 checkpoints: made once, opened, and run. Needs what bench/peer/setup.mjs installs.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HOW_TO_MAKE_PEER, onnxFolder, peerPython } from './settings.mjs'

/** Files of a checkpoint folder, by dtype (`float32`, `int8`); undefined where the peers' environment is not there. */
export function onnxFiles(folder) {
  const python = peerPython()
  if (python === undefined || !existsSync(join(onnxFolder, 'node_modules'))) {
    console.log(HOW_TO_MAKE_PEER)
    return undefined
  }
  const file = (dtype) => join(onnxFolder, `${basename(folder)}-${dtype}.onnx`)
  const files = { float32: file('float32'), int8: file('int8') }
  if (!existsSync(files.int8)) {
    const script = fileURLToPath(new URL('../peer/onnx_of.py', import.meta.url))
    const args = [script, folder, files.float32, files.int8]
    execFileSync(python, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  }
  return files
}

/** A function of rows of ids, a prefix of P × H numbers, P 0 for none, and labels' ids: log-probabilities of the labels, row after row. */
export async function openOnnx(file, hiddenSize) {
  const ort = createRequire(join(onnxFolder, 'package.json'))('onnxruntime-node')
  const session = await ort.InferenceSession.create(file, {
    intraOpNumThreads: 2,
    graphOptimizationLevel: 'all',
  })
  const int64 = (values, dims) =>
    new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims)
  return async (rows, prefix, labels) => {
    const B = rows.length
    const P = prefix.length / hiddenSize
    const T = Math.max(...rows.map((ids) => ids.length))
    const padded = rows.flatMap((ids) => [...ids, ...Array(T - ids.length).fill(0)])
    const vectors = new Float32Array(B * prefix.length)
    for (let b = 0; b < B; b += 1) vectors.set(prefix, b * prefix.length)
    const { scores } = await session.run({
      ids: int64(padded, [B, T]),
      at: int64(
        rows.map((ids) => P + ids.length - 1),
        [B],
      ),
      labels: int64(labels, [labels.length]),
      prefix: new ort.Tensor('float32', vectors, [B, P, hiddenSize]),
    })
    return scores.data
  }
}
