// Starts the server that `next build` has made, asks its route once, and prints the answer.

import { spawn } from 'node:child_process'

const next = '../node_modules/next/dist/bin/next'
const server = spawn(process.execPath, [next, 'start', '--port', '0'], {
  stdio: ['ignore', 'pipe', 'pipe'],
})
const port = await new Promise((resolve, reject) => {
  let printed = ''
  for (const stream of [server.stdout, server.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      printed += text
      const found = /http:\/\/localhost:(\d+)/.exec(printed)
      if (found) resolve(found[1])
    })
  }
  server.once('exit', () => reject(new Error(printed)))
})
console.log(await (await fetch(`http://localhost:${port}/api`)).text())
server.kill()
