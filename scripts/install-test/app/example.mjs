// The README's example, with few steps and rows: prints the accuracy, and leaves a run to be reported and a prompt to be served.

import { createPrompt, evaluate, loadBackbone, loadTask, savePrompt, train } from 'lopt'

const backbone = await loadBackbone('builtin:nano-gpt2')
const task = await loadTask('topics', { limit: { train: 64, dev: 32, test: 64 } })
const prompt = createPrompt(backbone, { method: 'lopt-1', length: 20, rank: 4, seed: 0 })

const steps = { steps: 3, batchSize: 8, out: 'runs/topics' }
for await (const event of train({ backbone, prompt, task, ...steps })) {
  if (event.type === 'step' && !Number.isFinite(event.loss)) throw new Error('no loss')
}
const { accuracy } = await evaluate({ backbone, prompt, task, split: 'test' })
await savePrompt('topics.lopt.safetensors', prompt)
console.log(`accuracy ${accuracy}`)
