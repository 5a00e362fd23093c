// What fewer bits cost: mean accuracy of prompts of three seeds on the test rows of `topics` and `spam`, and perplexity of the texts of `topics`,
// with each shipped model in float32, bfloat16 and int8. The prompts are trained in float32. Beside them the accuracy of the same
// prompts with nano-gpt2 in onnxruntime, in float32 and by its dynamic quantization to int8.

import { fileURLToPath } from 'node:url'
import { createPrompt, evaluate, loadBackbone, loadTask, train } from '../dist/index.js'
import { arange, crossEntropy, noGrad, tensor, tidy } from '../dist/torch.js'
import { onnxFiles, openOnnx } from './driver/onnx.mjs'
import { isQuick } from './driver/settings.mjs'
import { report } from './driver/sides.mjs'

const DTYPES = ['float32', 'bfloat16', 'int8']
const limit = isQuick ? { train: 40, dev: 20, test: 20 } : {}
// As the quickstart trains them; a spam's length tells that it is one.
const settings = {
  topics: { steps: 400 },
  spam: { steps: 800, maxLength: 64, batchByLength: false },
}
const tasks = {}
for (const name of Object.keys(settings)) tasks[name] = await loadTask(name, { limit })

/** Prompts of LoPT-1, in float32, of three seeds. */
async function trained(model) {
  const backbone = await loadBackbone(model)
  const found = {}
  for (const [name, task] of Object.entries(tasks)) {
    const prompts = [0, 1, 2].map((seed) =>
      createPrompt(backbone, { length: 20, rank: 4, seed }),
    )
    const { steps, ...how } = settings[name]
    const common = { backbone, prompts, task, schedule: 'linear', evalLimit: 300 }
    const running = train({
      ...common,
      ...how,
      steps: isQuick ? 4 : steps,
      evalEvery: 200,
    })
    for await (const _ of running);
    found[name] = prompts
  }
  backbone.dispose()
  return found
}

/** exp of the mean negative log-likelihood of a text's tokens behind its first half, the model alone. */
async function perplexity(backbone) {
  const { tokenizer, kind } = backbone
  const int64 = (values) => tensor(values, { dtype: 'int64' })
  let sum = 0
  let count = 0
  for (const { fields } of tasks.topics.test.slice(0, 400)) {
    const ids = tokenizer.encode(Object.values(fields).join(' ')).slice(0, 128)
    const half = Math.ceil(ids.length / 2)
    if (ids.length - half < 1) continue
    await noGrad(() =>
      tidy(async () => {
        let hidden
        if (kind === 'causal') {
          const x = await backbone.embed(int64([ids]))
          const positions = arange(0, ids.length, { dtype: 'int64' }).unsqueeze(0)
          const found = await backbone.run({ x, positions })
          hidden = found.hidden.select(0, 0).slice(0, half - 1, ids.length - 1)
        } else {
          const given = [...ids.slice(0, half), tokenizer.eosTokenId]
          const x = await backbone.embed(int64([given]))
          const cross = await backbone.crossKeyValues(await backbone.encode({ x }))
          const read = [backbone.config.decoderStartTokenId, ...ids.slice(half, -1)]
          const found = await backbone.decode({
            x: await backbone.embed(int64([read])),
            cross,
          })
          hidden = found.hidden.select(0, 0)
        }
        const logits = (await backbone.head(hidden)).to('float32')
        const target = int64(ids.slice(half))
        sum += crossEntropy(logits, target, { reduction: 'sum' }).item()
        count += ids.length - half
      }),
    )
  }
  return Math.exp(sum / count)
}

/** Test rows as token ids, at most `maxLength`: a longer one loses the last words of its last field. */
function encoded({ test, template }, tokenizer, maxLength = Number.POSITIVE_INFINITY) {
  return test.map(({ fields }) => {
    const last = Object.keys(fields).at(-1)
    const words = fields[last].split(/(?=\s)/)
    for (;;) {
      const now = { ...fields, [last]: words.join('') }
      const ids = tokenizer.encode(template.replace(/\{(\w+)\}/g, (_, name) => now[name]))
      if (ids.length <= maxLength || words.length === 0) return ids
      words.pop()
    }
  })
}

/** Mean accuracy of prompts in onnxruntime, by the first token of each label. */
async function onnxAccuracy(scores, { tokenizer }, prompts, name) {
  const task = tasks[name]
  const rows = encoded(task, tokenizer, settings[name].maxLength)
  const labels = task.labels.map((label) => task.verbalizer[label])
  const first = labels.map((words) => tokenizer.encode(` ${words}`)[0])
  let right = 0
  for (const prompt of prompts) {
    const prefix = await prompt.inputs().read()
    for (let from = 0; from < rows.length; from += 32) {
      const found = await scores(rows.slice(from, from + 32), prefix, first)
      for (let i = 0; i < found.length; i += first.length) {
        const own = found.subarray(i, i + first.length)
        const said = task.labels[own.indexOf(Math.max(...own))]
        if (said === task.test[from + i / first.length].label) right += 1
      }
    }
  }
  return right / rows.length / prompts.length
}

/** The same prompts in onnxruntime; nothing where it is not there. */
async function reportOnnx(found) {
  const folder = fileURLToPath(new URL('../models/nano-gpt2', import.meta.url))
  const files = onnxFiles(folder)
  if (files === undefined) return
  const backbone = await loadBackbone('builtin:nano-gpt2')
  for (const [dtype, file] of Object.entries(files)) {
    const scores = await openOnnx(file, backbone.config.hiddenSize)
    for (const [task, prompts] of Object.entries(found)) {
      const mean = await onnxAccuracy(scores, backbone, prompts, task)
      say(`nano-gpt2, ${task}, onnxruntime ${dtype}: accuracy`, percent(mean))
    }
  }
  backbone.dispose()
}

const percent = (share) => `${(100 * share).toFixed(1)} %`

// `npm run bench -- bits nano-t5`: this one only.
const [, , ...wanted] = process.argv
for (const name of ['nano-gpt2', 'nano-t5']) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  const found = await trained(`builtin:${name}`)
  for (const dtype of DTYPES) {
    const backbone = await loadBackbone(`builtin:${name}`, { dtype })
    for (const [task, prompts] of Object.entries(found)) {
      const all = await evaluate({ backbone, prompts, task: tasks[task], split: 'test' })
      const mean = all.reduce((sum, { accuracy }) => sum + accuracy, 0) / all.length
      say(`${name}, ${task}, ${dtype}: accuracy`, percent(mean))
    }
    say(`${name}, ${dtype}: perplexity`, (await perplexity(backbone)).toFixed(2))
    backbone.dispose()
  }
  if (name === 'nano-gpt2') await reportOnnx(found)
}

function say(bench, lopt) {
  report({ bench: `bits: ${bench}`, lopt, peer: '', ratio: '', aim: '', peak: '' })
}
