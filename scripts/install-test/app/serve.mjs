// Starts `lopt serve` as it is installed, asks it once, and prints the label.

import { spawn } from 'node:child_process'
import { mkdirSync, renameSync } from 'node:fs'

mkdirSync('prompts', { recursive: true })
renameSync('topics.lopt.safetensors', 'prompts/topics.lopt.safetensors')
const args = [
  'serve',
  '--backbone',
  'builtin:nano-gpt2',
  '--prompts',
  'prompts',
  '--port',
  '0',
]
const server = spawn('node_modules/.bin/lopt', args, {
  stdio: ['ignore', 'pipe', 'pipe'],
})
const port = await new Promise((resolve, reject) => {
  let printed = ''
  for (const stream of [server.stdout, server.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      printed += text
      const found = /http:\/\/[\w.[\]:]+:(\d+)/.exec(printed)
      if (found) resolve(found[1])
    })
  }
  server.once('exit', () => reject(new Error(printed)))
})
const answer = await fetch(`http://127.0.0.1:${port}/v1/classify`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ model: 'topics', input: 'a large dog' }),
})
const { data } = await answer.json()
console.log(`label ${data[0].label}`)
server.kill()
