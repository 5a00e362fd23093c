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
const PREFIX_WINDOW = 192
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
const EMBEDDINGS = 'shared.weight'
const EMBEDDING_SCALE = 0.3
const OUTPUT_SCALE = 0.1
const EVAL_BATCHES = 10

const options = pretrainingOptions('scripts/pretrain/t5.mjs', {
  out: 'models/nano-t5',
  steps: 7500,
  batchSize: 16,
  batchUnit: `windows of ${WINDOW} tokens, later of ${PREFIX_WINDOW},`,
  lr: 0.05,
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
const groups = await groupsOf(backbone.parameters())
await startSmall(backbone.parameters())
await backbone.setTrainable(/.*/)

await pretrain({
  options,
  backbone,
  groups,
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
 * A matrix moves by a share of its own starting size at most, as Adam's steps do for GPT-2, whose
 * matrices all start alike: T5's start between 0.01 and 1. Norms do not decay.
 */
async function groupsOf(parameters) {
  const groups = []
  for (const [name, parameter] of parameters) {
    const matrix = parameter.ndim === 2
    let rate = 0.1
    if (matrix) rate = (await parameter.square().mean().sqrt().read())[0]
    if (name === EMBEDDINGS) rate *= EMBEDDING_SCALE
    groups.push({ params: [parameter], rate, weightDecay: matrix ? WEIGHT_DECAY : 0 })
  }
  return groups
}

/**
 * What a small model on small batches needs in order to leave the words' frequencies within hundreds
 * of steps, and T5's own start does not give:
 * - smaller embeddings, so that the tied output does not begin as a copy of the input;
 * - small outputs of every layer, so that the decoder begins as a function of its newest token;
 * - cross-attention whose queries are its keys, so that a token looks for itself (Trockman and Kolter
 *   2023, "Mimetic Initialization of Self-Attention Layers", start self-attention like this).
 */
async function startSmall(parameters) {
  for (const [name, parameter] of parameters) {
    if (name === EMBEDDINGS) await parameter.copy_(parameter.mul(EMBEDDING_SCALE))
    if (/\.(o|wo)\.weight$/.test(name)) await parameter.copy_(parameter.mul(OUTPUT_SCALE))
    if (name.endsWith('EncDecAttention.q.weight')) {
      const key = parameters.get(name.replace('.q.', '.k.'))
      await parameter.copy_(key.mul(CONFIG.headSize ** -0.5))
    }
  }
}

/** Mean cross-entropy in nats a target token. Every row of a batch has the same lengths. */
async function batchLoss(ids, starts, spans, generator) {
  const numbers = rand([4096], { generator }).data()
  let drawn = 0
  const random = () => numbers[drawn++ % numbers.length]
  const at = 1 + Math.floor(random() * (PREFIX_WINDOW - 1))
  const sentinelId = (i) => sentinelIds[i]
  const pairs = starts.map((start) => {
    const window = Array.from(
      ids.subarray(start, start + (spans ? WINDOW : PREFIX_WINDOW)),
    )
    return spans
      ? corruptSpans(window, { random, sentinelId, end })
      : splitPrefix(window, { at, end })
  })
  const shifted = pairs.map(({ target }) => [0, ...target.slice(0, -1)])
  const encoded = await backbone.encode({
    x: await embed(pairs.map(({ input }) => input)),
  })
  const { hidden } = await backbone.decode({
    x: await embed(shifted),
    cross: await backbone.crossKeyValues(encoded),
  })
  const logits = await backbone.head(hidden.reshape([-1, CONFIG.hiddenSize]))
  const target = tensor(
    pairs.flatMap((pair) => pair.target),
    { dtype: 'int64' },
  )
  return crossEntropy(logits, target)
}

function embed(ids) {
  return backbone.embed(tensor(ids, { dtype: 'int64' }))
}
