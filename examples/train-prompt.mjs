// Trains LoPT-1 on a few rows of your own and saves it: from text to loss to prompt file.
// Run from a clone after `npm run setup`: node examples/train-prompt.mjs

import { createPrompt, createTask, loadBackbone, savePrompt, score, train } from 'lopt'

const praise = ['a delight', 'warm and funny', 'a small wonder', 'well made', 'moving']
const blame = ['two lost hours', 'dull and loud', 'a mess', 'badly made', 'tiresome']
const task = createTask({
  template: 'The film is {text}. It was',
  train: [
    ...praise.map((text) => ({ text, label: 'good' })),
    ...blame.map((text) => ({ text, label: 'bad' })),
  ],
  devFraction: 0, // ten rows: nothing to hold out
})

const backbone = await loadBackbone('builtin:nano-gpt2')
const prompt = createPrompt(backbone, { method: 'lopt-1', length: 10, rank: 2, seed: 0 })
// Ten rows for a small model: many passes, the last ones in small steps.
const settings = { steps: 400, batchSize: 10, learningRate: 0.1, schedule: 'linear' }
for await (const event of train({ backbone, prompt, task, ...settings })) {
  if (event.type === 'step' && event.step % 80 === 0) {
    console.log(`step ${event.step}: loss ${event.loss.toFixed(3)}`)
  }
}
await savePrompt('film.lopt.safetensors', prompt)

const [first] = await score({ backbone, prompt, texts: ['a delight'] })
console.log(first.prediction, first.scores)
