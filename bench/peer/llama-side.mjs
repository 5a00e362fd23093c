// llama.cpp's side of a bench, a program that ../driver/sides.mjs starts: continues as many texts as a job says for each line
// that it reads, and answers with what that took from the first tokens to the last ones.

import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { llamaFolder } from '../driver/settings.mjs'

const { gguf, P, lengths, newTokens } = JSON.parse(process.argv[2])
const streams = lengths.length
const installed = createRequire(join(llamaFolder, 'package.json'))
const path = installed.resolve('node-llama-cpp')
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(path).href)
const threads = 2
const llama = await getLlama({
  ...{ build: 'never', gpu: false, maxThreads: threads },
  logLevel: LlamaLogLevel.error,
})
const model = await llama.loadModel({ modelPath: gguf })
const size = 32 * Math.ceil((P + lengths[0] + newTokens) / 32)
const context = await model.createContext({
  sequences: streams,
  contextSize: size,
  threads,
})
const sequences = Array.from({ length: streams }, () => context.getSequence())
const given = Array.from({ length: P + lengths[0] }, (_, i) => 100 + i)

async function run() {
  let tokens = 0
  const begin = performance.now()
  let first = 0
  const one = async (sequence, i) => {
    await sequence.clearHistory()
    const options = { temperature: 0, yieldEogToken: true }
    let made = 0
    for await (const _ of sequence.evaluate(
      given.map((token) => token + i),
      options,
    )) {
      tokens += 1
      made += 1
      if (tokens === streams) first = performance.now()
      if (made === newTokens) break
    }
  }
  await Promise.all(sequences.map(one))
  const end = performance.now()
  // From the first tokens to the last ones; and with the reading of the texts.
  return { seconds: (end - first) / 1000, wholeSeconds: (end - begin) / 1000 }
}

await run()
console.log(JSON.stringify({ ready: true }))
for await (const _ of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await run()))
}
process.exit(0)
