// A server's clients, a program of its own: its URL and for how many seconds. So many classify at a time, and so many read
// streams of tokens.

import { closedLoad, post, randomText, streamed } from './http-load.mjs'

const [url, seconds, prompts] = process.argv.slice(2)
const end = performance.now() + 1000 * Number(seconds)
const whileTime = async (i, request) => {
  while (performance.now() < end) await request(`p${i % Number(prompts)}`)
}
const texts = (model) => post(`${url}/v1/classify`, { model, input: randomText(38) })
const stream = (model) =>
  streamed(`${url}/v1/completions`, { model, prompt: randomText(17), max_tokens: 48 })
const load = (concurrency, request) =>
  closedLoad({
    ...{ count: concurrency, concurrency },
    request: (i) => whileTime(i, request),
  })
await Promise.all([load(32, texts), load(16, stream)])
