// CommonJS, and a worker thread that loads the addon again.

const { Worker } = require('node:worker_threads')
const { LoptError } = require('lopt')
const { ones } = require('lopt/torch')
const { servePlugin } = require('lopt/server')

if (typeof servePlugin !== 'function' || typeof LoptError !== 'function') process.exit(1)
const here = ones([2, 3]).shape.join()
const source =
  "const { ones } = require('lopt/torch'); require('node:worker_threads').parentPort.postMessage(ones([2, 3]).shape.join())"
new Worker(source, { eval: true }).once('message', (there) => {
  console.log(`shapes ${here} ${there}`)
})
