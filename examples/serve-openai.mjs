// Serves the model that ships, and asks it with the openai package as any other server of its kind.
// Run from a clone after `npm run setup`: node examples/serve-openai.mjs

import { createEngine, createPrompt, loadBackbone, loadTask, train } from 'lopt'
import { createServer } from 'lopt/server'
import OpenAI from 'openai'

// A prompt that was tuned for a task; `lopt serve --prompts DIR` takes them from files.
const backbone = await loadBackbone('builtin:nano-gpt2')
const task = await loadTask('topics', { limit: { train: 400, dev: 50 } })
const topics = createPrompt(backbone, { length: 8, seed: 0 })
for await (const _ of train({ backbone, prompt: topics, task, steps: 50 }));

const engine = createEngine({ backbone, prompts: { topics } })
const server = createServer(engine)
const url = await server.listen({ port: 0 })

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' })
for await (const { id } of client.models.list()) console.log('model', id)

const stream = await client.completions.create({
  ...{ model: 'nano-gpt2', prompt: 'A large animal that', stream: true },
  ...{ max_tokens: 24, temperature: 0.8, top_p: 0.9, seed: 1, stop: ['\n'] },
})
for await (const { choices } of stream) process.stdout.write(choices[0]?.text ?? '')
console.log()

// Labels are not among OpenAI's routes; the client asks any path.
const { data } = await client.post('/classify', {
  body: { model: 'topics', input: ['a river near the city', 'a large bird'] },
})
for (const { label, probs } of data) console.log(label, Math.max(...probs).toFixed(2))

await server.close()
await engine.close()
