// Continues a text on the model that ships, and prints it as it comes.
// Run from a clone after `npm run setup`: node examples/generate-text.mjs

import { generate, loadBackbone } from 'lopt'

const backbone = await loadBackbone('builtin:nano-gpt2')
const options = { temperature: 0.8, topK: 40, seed: 1, maxNewTokens: 40 }
for await (const event of generate({ backbone, text: 'The whale', ...options })) {
  if (event.type === 'token') process.stdout.write(event.text)
  else console.log(`\n(${event.finishReason})`)
}
