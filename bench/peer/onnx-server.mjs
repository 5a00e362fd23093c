// onnxruntime-node behind Fastify: classifies texts one request at a time, without prompts. onnx-server.mjs JOB PORT

import { join } from 'node:path'
import Fastify from 'fastify'
import { Tokenizer } from 'tokenizers'
import { openOnnx } from '../driver/onnx.mjs'

const [job, port] = process.argv.slice(2)
const { model, file, hiddenSize, labels } = JSON.parse(job)
const tokenizer = await Tokenizer.fromFile(join(model, 'tokenizer.json'))
const idsOf = async (text) =>
  (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds()
const labelIds = []
for (const label of labels) labelIds.push((await idsOf(` ${label}`))[0])
const scores = await openOnnx(file, hiddenSize)

const app = Fastify()
app.get('/health', async () => ({ status: 'ok' }))
app.post('/classify', async ({ body }) => {
  const ids = await idsOf(`${body.input} It was`)
  const found = Array.from(await scores([ids], [], labelIds))
  return { label: labels[found.indexOf(Math.max(...found))], scores: found }
})
await app.listen({ port: Number(port), host: '127.0.0.1' })
