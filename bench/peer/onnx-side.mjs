// onnxruntime's side of a bench, a program that ../driver/sides.mjs starts: scores some batches of texts for each line that
// it reads, with a prefix before each text or without, and answers with what they took.

import { createInterface } from 'node:readline'
import { openOnnx } from '../driver/onnx.mjs'

const { file, hiddenSize, lengths, P, steps } = JSON.parse(process.argv[2])
const scores = await openOnnx(file, hiddenSize)
const texts = lengths.map((T) => Array(T).fill(7))
const prefix = Array(P * hiddenSize).fill(0.01)

async function run(count) {
  const started = performance.now()
  for (let i = 0; i < count; i += 1) await scores(texts, prefix, [8, 9])
  return {
    seconds: (performance.now() - started) / 1000,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  }
}

await run(1)
console.log(JSON.stringify({ ready: true }))
for await (const _ of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await run(steps)))
}
