// Pretrains models/nano-t5 with this library: span corruption for two thirds of the steps, then prefix
// language modelling, as LM adaptation does (Lester et al. 2021, section 2.2). Resumable: run it again
// with the same --work folder. `node scripts/pretrain/t5.mjs --help` lists options.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createBackbone, loadTokenizer } from '../../dist/index.js'
import { crossEntropy, Generator, rand, randint, tensor } from '../../dist/torch.js'
import { loadCorpus } from './corpus.mjs'
import { log, pretrain } from './loop.mjs'
import { pretrainingOptions } from './options.mjs'
import { corruptSpans, splitPrefix, windowFor } from './span-corruption.mjs'
import { END, PAD, sentinel, trainUnigram } from './unigram.mjs'

const INPUTS = 128
const WINDOW = windowFor(INPUTS)
const PREFIX_WINDOW = 96
const SPAN_SHARE = 2 / 3
const CONFIG = {
  modelType: 't5',
  hiddenSize: 192,
  headSize: 32,
  heads: 6,
  innerSize: 448,
  layers: 3,
  decoderLayers: 3,
}
const WEIGHT_DECAY = 0.1
const EVAL_BATCHES = 10
const IGNORED = -100

const options = pretrainingOptions('scripts/pretrain/t5.mjs', {
  out: 'models/nano-t5',
  steps: 8000,
  batchSize: 24,
  batchUnit: `windows of ${WINDOW} tokens, later of ${PREFIX_WINDOW},`,
  lr: 0.002,
})
const { work, batchSize, steps } = options

await mkdir(work, { recursive: true })
const corpus = await loadCorpus({ folder: work, trainTokenizer: trainUnigram, end: END })
log(`${corpus.train.length} tokens to train on, ${corpus.heldOut.length} held out`)
await writeFile(
  join(work, 'tokenizer_config.json'),
  JSON.stringify({
    tokenizer_class: 'T5Tokenizer',
    extra_ids: 100,
    eos_token: END,
    pad_token: PAD,
    unk_token: '<unk>',
    model_max_length: 512,
  }),
)
const tokenizer = await loadTokenizer(work)
const [end] = idsOf(END)
const sentinelIds = Array.from({ length: 100 }, (_, i) => idsOf(sentinel(i))[0])

const backbone = await createBackbone(CONFIG, { seed: 0, tokenizer })
await startCrossAttention(backbone.parameters())
await backbone.setTrainable(/.*/)

await pretrain({
  options,
  backbone,
  groups: groupsOf(backbone.parameters()),
  stepLoss: (step, generator) => {
    const spans = step < steps * SPAN_SHARE
    const length = spans ? WINDOW : PREFIX_WINDOW
    const room = corpus.train.length - length
    const starts = randint(0, room, [batchSize], { generator }).toArray()
    return batchLoss(corpus.train, starts, spans, generator)
  },
  // Always of the last task, so that the figures of all steps are of one kind.
  heldOutLoss: async () => {
    const generator = new Generator({ seed: 2 })
    const room = corpus.heldOut.length - PREFIX_WINDOW
    let sum = 0
    for (let batch = 0; batch < EVAL_BATCHES; batch += 1) {
      const starts = Array.from({ length: batchSize }, (_, i) =>
        Math.floor((room * (batch * batchSize + i)) / (EVAL_BATCHES * batchSize)),
      )
      const loss = await batchLoss(corpus.heldOut, starts, false, generator)
      sum += (await loss.read())[0]
    }
    return sum / EVAL_BATCHES
  },
})

function idsOf(token) {
  return tokenizer.encode(token)
}

/**
 * The decoder's queries to the encoder start as its keys, so that a token looks for itself: a sentinel
 * finds its place in the text from the first step on. From a random start, a small model on a small
 * batch stays at the words' frequencies for thousands of steps. (Trockman and Kolter 2023, "Mimetic
 * Initialization of Self-Attention Layers", start self-attention like this.)
 */
async function startCrossAttention(parameters) {
  for (const [name, query] of parameters) {
    if (!name.endsWith('EncDecAttention.q.weight')) continue
    const key = parameters.get(name.replace('.q.', '.k.'))
    await query.copy_(key.mul(CONFIG.headSize ** -0.5))
  }
}

/**
 * The embeddings start at 1, about fourteen times the matrices' size, for the output is scaled; relative
 * positions have few numbers, which all have to move. Norms do not decay.
 */
function groupsOf(parameters) {
  const rateOf = (name) => {
    if (name === 'shared.weight') return 3
    return name.endsWith('relative_attention_bias.weight') ? 5 : 1
  }
  return [...parameters].map(([name, parameter]) => ({
    params: [parameter],
    rate: rateOf(name),
    weightDecay: parameter.ndim === 2 && rateOf(name) === 1 ? WEIGHT_DECAY : 0,
  }))
}

/** Mean cross-entropy in nats a target token. */
async function batchLoss(ids, starts, spans, generator) {
  const numbers = rand([4096], { generator }).data()
  let drawn = 0
  const random = () => numbers[drawn++ % numbers.length]
  const pairs = starts.map((start) => {
    const length = spans ? WINDOW : PREFIX_WINDOW
    const window = Array.from(ids.subarray(start, start + length))
    const sentinelId = (i) => sentinelIds[i]
    return spans
      ? corruptSpans(window, { random, sentinelId, end })
      : splitPrefix(window, { random, end })
  })
  const inputs = padded(
    pairs.map(({ input }) => input),
    0,
  )
  const targets = padded(
    pairs.map(({ target }) => target),
    IGNORED,
  )
  const shifted = pairs.map(({ target }) => [0, ...target.slice(0, -1)])
  const mask = inputs.some((row, i) => pairs[i].input.length < row.length)
    ? tensor(
        inputs.map((row, i) => row.map((_, j) => Number(j < pairs[i].input.length))),
        { dtype: 'bool' },
      )
    : undefined
  const encoded = await backbone.encode({ x: await embed(inputs), mask })
  const { hidden } = await backbone.decode({
    x: await embed(padded(shifted, 0)),
    cross: await backbone.crossKeyValues(encoded),
    crossMask: mask,
  })
  const logits = await backbone.head(hidden.reshape([-1, CONFIG.hiddenSize]))
  const target = tensor(targets.flat(), { dtype: 'int64' })
  return crossEntropy(logits, target, { ignoreIndex: IGNORED })
}

function embed(ids) {
  return backbone.embed(tensor(ids, { dtype: 'int64' }))
}

function padded(rows, padding) {
  const length = Math.max(...rows.map((row) => row.length))
  return rows.map((row) => [...row, ...Array(length - row.length).fill(padding)])
}
