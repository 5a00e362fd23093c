// Texts of 16 prompts mixed, 32 texts of 40 tokens at a time, GPT-2 small's shape. Peers: PEFT with 16 adapters, the rows
// of each batch grouped by adapter, once as it is called, and once told that the last position's logits are enough;
// onnxruntime in float32 and with its dynamic quantization to int8, which reads texts without a prompt, and with one.

import { modelSource } from './driver/models.mjs'
import { compare, loptSide, onnxSide, peerSide } from './driver/sides.mjs'

const job = {
  kind: 'score',
  model: await modelSource('gpt2-small'),
  lengths: Array(32).fill(40),
  batchSize: 32,
  P: 20,
  placement: 'prefix',
  prompts: 16,
  steps: 8, // batches of a run
}
// `npm run bench -- score-mixed onnxruntime`: these peers only.
const wanted = process.argv[2]
const peft = (lastLogits) => () => peerSide({ ...job, lastLogits })
const onnx = (dtype, P) => () => onnxSide({ ...job, dtype, P })
for (const [name, dtype, peer, atLeast] of [
  ['PEFT', 'float32', peft(false), 3],
  ['PEFT, last logits', 'float32', peft(true)],
  ['onnxruntime float32, no prompt', 'float32', onnx('float32', 0)],
  ['onnxruntime float32, no prompt', 'bfloat16', onnx('float32', 0)],
  ['onnxruntime float32, no prompt', 'int8', onnx('float32', 0), 2],
  ['onnxruntime float32, a prompt', 'int8', onnx('float32', 20)],
  ['onnxruntime int8, no prompt', 'int8', onnx('int8', 0), 1],
  ['onnxruntime int8, a prompt', 'int8', onnx('int8', 20)],
]) {
  if (wanted !== undefined && !name.startsWith(wanted)) continue
  const sides = { lopt: await loptSide({ ...job, dtype }), peer: await peer() }
  await compare(`score-mixed, ${dtype}: ${name}`, sides, { atLeast })
}
