// Pretrains models/nano-gpt2 with this library. Resumable: run it again with the same --work folder
// and it goes on from the last checkpoint. `node scripts/pretrain/gpt2.mjs --help` lists options.
//
// With glibc, MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 makes a step about
// a seventh faster: the logits of a step are 65 MB, and are otherwise mapped anew each time.

import { mkdir } from 'node:fs/promises'
import { createBackbone, loadTokenizer } from '../../dist/index.js'
import { crossEntropy, randint, tensor } from '../../dist/torch.js'
import { loadCorpus } from './corpus.mjs'
import { log, pretrain } from './loop.mjs'
import { pretrainingOptions } from './options.mjs'
import { END_OF_TEXT, trainTokenizer } from './tokenizer.mjs'

const VOCAB_SIZE = 8000
const WINDOW = 256 // = n_positions: every position is trained
const CONFIG = { positions: WINDOW, hiddenSize: 192, layers: 5, heads: 6 }
const EVAL_BATCHES = 20

const options = pretrainingOptions('scripts/pretrain/gpt2.mjs', {
  out: 'models/nano-gpt2',
  steps: 8000,
  batchSize: 8,
  batchUnit: `windows of ${WINDOW} tokens`,
  lr: 0.0015,
})
const { work, batchSize } = options

await mkdir(work, { recursive: true })
const corpus = await loadCorpus({
  folder: work,
  trainTokenizer: (files) => trainTokenizer({ ...files, vocabSize: VOCAB_SIZE }),
  end: END_OF_TEXT,
})
log(`${corpus.train.length} tokens to train on, ${corpus.heldOut.length} held out`)

const tokenizer = await loadTokenizer(work)
const backbone = await createBackbone(CONFIG, { seed: 0, tokenizer })
await backbone.setTrainable(/.*/)
const parameters = [...backbone.parameters().values()]
const matrices = parameters.filter((p) => p.ndim === 2)
const vectors = parameters.filter((p) => p.ndim !== 2)
const positions = tensor(
  Array.from({ length: batchSize }, () => Array.from({ length: WINDOW }, (_, i) => i)),
  { dtype: 'int64' },
)
await pretrain({
  options,
  backbone,
  groups: [
    { params: matrices, weightDecay: 0.1, rate: 1 },
    { params: vectors, weightDecay: 0, rate: 1 },
  ],
  stepLoss: (_, generator) =>
    windowLoss(corpus.train, randomStarts(corpus.train, generator)),
  heldOutLoss,
})

function randomStarts(ids, generator) {
  const starts = randint(0, ids.length - WINDOW - 1, [batchSize], { generator })
  return starts.toArray()
}

/** Mean cross-entropy in nats a token of `batchSize` windows of the stream `ids`. */
async function windowLoss(ids, starts) {
  const window = (from) => Array.from(ids.subarray(from, from + WINDOW))
  const input = tensor(
    starts.map((start) => window(start)),
    { dtype: 'int64' },
  )
  const target = tensor(
    starts.flatMap((start) => window(start + 1)),
    { dtype: 'int64' },
  )
  const { hidden } = await backbone.run({ x: await backbone.embed(input), positions })
  const logits = await backbone.head(hidden.reshape([-1, CONFIG.hiddenSize]))
  return crossEntropy(logits, target)
}

async function heldOutLoss() {
  const room = corpus.heldOut.length - WINDOW - 1
  let sum = 0
  for (let batch = 0; batch < EVAL_BATCHES; batch += 1) {
    const starts = Array.from({ length: batchSize }, (_, i) =>
      Math.floor((room * (batch * batchSize + i)) / (EVAL_BATCHES * batchSize)),
    )
    const loss = await windowLoss(corpus.heldOut, starts)
    sum += (await loss.read())[0]
  }
  return sum / EVAL_BATCHES
}
