// Teaches a prompt to say in words what a thing is a kind of, from dictionary definitions, and asks it. Rows are answered
// by texts, not by labels. Run from a clone after `npm run setup`: node examples/train-on-texts.mjs

import { createPrompt, createTask, evaluate, generate, loadBackbone, train } from 'lopt'

const kinds = {
  animal: [
    'a large dog',
    'a bird that cannot fly',
    'a fish of warm seas',
    'a small wild cat',
  ],
  'person, who works': [
    'someone who bakes bread',
    'one who teaches',
    'someone who mends shoes',
  ],
  'plant with leaves': [
    'a tall grass of wet places',
    'a tree with red fruit',
    'a climbing vine',
  ],
}
const task = createTask({
  template: '{text}. It is a kind of',
  train: Object.entries(kinds).flatMap(([target, texts]) =>
    texts.map((text) => ({ text, target })),
  ),
  devFraction: 0, // ten rows: nothing to hold out
})

const backbone = await loadBackbone('builtin:nano-gpt2')
const prompt = createPrompt(backbone, { method: 'lopt-1', length: 10, rank: 2, seed: 0 })
const settings = { steps: 300, batchSize: 10, learningRate: 0.2, schedule: 'linear' }
for await (const event of train({ backbone, prompt, task, ...settings })) {
  if (event.type === 'step' && event.step % 60 === 0) {
    console.log(`step ${event.step}: loss ${event.loss.toFixed(3)} a token`)
  }
}

const { perplexity, exactMatch } = await evaluate({
  backbone,
  prompt,
  task,
  split: 'train',
})
console.log(
  `perplexity ${perplexity.toFixed(2)}, ${(100 * exactMatch).toFixed(0)} % exact`,
)

// Fields go into the template that the prompt was trained with; the text ends at its end token.
const texts = ['a bird that cannot fly', 'a shrub with white flowers']
const rows = texts.map((text) => ({ text: { text }, prompt }))
for await (const event of generate({ backbone, rows, maxNewTokens: 12 })) {
  if (event.type === 'done') console.log(`${texts[event.row]}:${event.text}`)
}
