// Pretrains models/nano-t5 with this library: span corruption for two thirds of the steps, then prefix
// language modelling, as LM adaptation does (Lester et al. 2021, section 2.2). Resumable: run it again
// with the same --work folder. `node scripts/pretrain/t5.mjs --help` lists options.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createBackbone, loadTokenizer } from '../../dist/index.js'
import { crossEntropy, Generator, rand, randn, tensor } from '../../dist/torch.js'
import { loadCorpus } from './corpus.mjs'
import { log, pretrain } from './loop.mjs'
import { pretrainingOptions } from './options.mjs'
import { corruptSpans, splitPrefix, windowFor } from './span-corruption.mjs'
import { END, PAD, sentinel, trainUnigram } from './unigram.mjs'

const INPUTS = 128
const WINDOW = windowFor(INPUTS)
const SPAN_SHARE = 2 / 3
// Prefix language modelling on windows of many lengths with short targets: what follows depends on the
// encoder's text most in its first tokens. Inputs are drawn log-uniformly.
const PREFIX_INPUTS = [6, 112]
const PREFIX_TARGETS = [8, 24]
const HELD_OUT_PREFIX = { at: 96, targets: 24 }
const CONFIG = {
  modelType: 't5',
  hiddenSize: 192,
  headSize: 32,
  heads: 6,
  innerSize: 448,
  layers: 3,
  decoderLayers: 3,
  // The output as GPT-2's, whose start it has: T5's own scale is for embeddings of size 1.
  scaleOutput: false,
  // The decoder starts from the token that ends the encoder's text, as BART's does, and finds it there.
  decoderStartTokenId: 1,
}
const WEIGHT_DECAY = 0.1
const MATRIX_STD = 0.02
const QUERY_SCALE = CONFIG.headSize ** -0.5
const EVAL_BATCHES = 10

const options = pretrainingOptions('scripts/pretrain/t5.mjs', {
  out: 'models/nano-t5',
  steps: 7500,
  batchSize: 16,
  batchUnit: `windows of ${WINDOW} tokens, later as many tokens in shorter ones,`,
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
const groups = groupsOf(backbone.parameters())
await startAsGpt2(backbone.parameters())
await backbone.setTrainable(/.*/)

await pretrain({
  options,
  backbone,
  groups,
  stepLoss: (step, generator) => {
    const random = numbersOf(generator)
    const pairs =
      step < steps * SPAN_SHARE ? spanPairs(random) : prefixPairs(random, corpus.train)
    return batchLoss(pairs)
  },
  // Always of the last task, so that the figures of all steps are of one kind.
  heldOutLoss: async () => {
    const { at, targets } = HELD_OUT_PREFIX
    const room = corpus.heldOut.length - at - targets
    let sum = 0
    for (let batch = 0; batch < EVAL_BATCHES; batch += 1) {
      const pairs = Array.from({ length: batchSize }, (_, i) => {
        const share = (batch * batchSize + i) / (EVAL_BATCHES * batchSize)
        return prefixPair(corpus.heldOut, Math.floor(room * share), at, targets)
      })
      sum += (await (await batchLoss(pairs)).read())[0]
    }
    return sum / EVAL_BATCHES
  },
})

function idsOf(token) {
  return tokenizer.encode(token)
}

/**
 * Queries are smaller than other matrices (T5's scores are not scaled), and relative positions have to
 * reach sizes of several units, where the others stay below one: with the others' rate a head learns to
 * look at the token before only after thousands of steps. Norms do not decay.
 */
function groupsOf(parameters) {
  return [...parameters].map(([name, parameter]) => {
    const isPositions = name.includes('relative_attention_bias')
    const isMatrix = parameter.ndim === 2 && !isPositions
    const ofMatrix = name.endsWith('.q.weight') ? QUERY_SCALE : 1
    return {
      params: [parameter],
      rate: isPositions ? 10 : ofMatrix,
      weightDecay: isMatrix ? WEIGHT_DECAY : 0,
    }
  })
}

/**
 * GPT-2's start: small matrices, smaller ones where a layer ends, no preference of position. Besides,
 * cross-attention's queries are its keys, so that a token looks for itself (Trockman and Kolter 2023,
 * "Mimetic Initialization of Self-Attention Layers", start self-attention like this).
 */
async function startAsGpt2(parameters) {
  const generator = new Generator({ seed: 3 })
  const layers = CONFIG.layers + CONFIG.decoderLayers
  const stdOf = (name) => {
    if (name.includes('relative_attention_bias')) return 0
    if (/\.(o|wo)\.weight$/.test(name)) return MATRIX_STD / Math.sqrt(2 * layers)
    return name.endsWith('.q.weight') ? MATRIX_STD * QUERY_SCALE : MATRIX_STD
  }
  for (const [name, parameter] of parameters) {
    if (parameter.ndim !== 2) continue
    const drawn = randn([...parameter.shape], { generator })
    await parameter.copy_(drawn.mul(stdOf(name)))
  }
  for (const [name, parameter] of parameters) {
    if (!name.endsWith('EncDecAttention.q.weight')) continue
    const key = parameters.get(name.replace('.q.', '.k.'))
    await parameter.copy_(key.mul(QUERY_SCALE))
  }
}

/** Numbers in [0, 1), as many as are asked for. */
function numbersOf(generator) {
  let numbers = []
  let drawn = 0
  return () => {
    if (drawn === numbers.length) {
      numbers = rand([4096], { generator }).data()
      drawn = 0
    }
    return numbers[drawn++]
  }
}

function spanPairs(random) {
  const room = corpus.train.length - WINDOW
  const sentinelId = (i) => sentinelIds[i]
  return Array.from({ length: batchSize }, () => {
    const start = Math.floor(random() * room)
    const window = Array.from(corpus.train.subarray(start, start + WINDOW))
    return corruptSpans(window, { random, sentinelId, end })
  })
}

/** Every row of a batch has the same lengths. */
function prefixPairs(random, ids) {
  const [least, most] = PREFIX_INPUTS
  const [shortest, longest] = PREFIX_TARGETS
  const at = Math.round(least * (most / least) ** random())
  const targets = shortest + Math.floor(random() * (longest - shortest + 1))
  const rows = Math.floor((batchSize * WINDOW) / (at + targets))
  const room = ids.length - at - targets
  return Array.from({ length: rows }, () =>
    prefixPair(ids, Math.floor(random() * room), at, targets),
  )
}

/** Without an end behind the target: where a window stops, no text ends. */
function prefixPair(ids, start, at, targets) {
  const window = Array.from(ids.subarray(start, start + at + targets))
  const { input, target } = splitPrefix(window, { at, end })
  return { input, target: target.slice(0, -1) }
}

/** Mean cross-entropy in nats a target token. Every row of a batch has the same lengths. */
async function batchLoss(pairs) {
  const shifted = pairs.map(({ target }) => [
    CONFIG.decoderStartTokenId,
    ...target.slice(0, -1),
  ])
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
