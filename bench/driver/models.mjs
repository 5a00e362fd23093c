// Checkpoints of known shapes with random weights, made once and kept in the cache folder.

import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createBackbone, loadBackbone, saveBackbone } from '../../dist/index.js'
import { cacheFolder, isQuick } from './settings.mjs'

// Radford et al. 2019 (GPT-2), Raffel et al. 2020 (T5): the checkpoints' own sizes.
const SHAPES = {
  'gpt2-small': {
    vocabSize: 50257,
    hiddenSize: 768,
    layers: 12,
    heads: 12,
    positions: 1024,
  },
  'gpt2-large': {
    vocabSize: 50257,
    hiddenSize: 1280,
    layers: 36,
    heads: 20,
    positions: 1024,
  },
  't5-base': {
    modelType: 't5',
    vocabSize: 32128,
    hiddenSize: 768,
    headSize: 64,
    innerSize: 3072,
    layers: 12,
    decoderLayers: 12,
    heads: 12,
  },
}

// Of `isQuick`: as many positions, so that the same texts fit.
const TINY = { hiddenSize: 64, heads: 2, layers: 2 }

/** The folder of a checkpoint of this shape; `nano-gpt2` is the built-in model. */
export async function modelSource(name) {
  if (name === 'nano-gpt2') return 'builtin:nano-gpt2'
  const folder = join(cacheFolder, isQuick ? `${name}-tiny` : name)
  if (existsSync(join(folder, 'model.safetensors'))) return folder
  const small = {
    ...TINY,
    ...(name === 't5-base' && { innerSize: 128, decoderLayers: 2 }),
  }
  const config = { ...SHAPES[name], ...(isQuick && small) }
  const nano = await loadBackbone('builtin:nano-gpt2')
  const backbone = await createBackbone(config, { seed: 0, tokenizer: nano.tokenizer })
  await mkdir(folder, { recursive: true })
  await saveBackbone(folder, backbone)
  backbone.dispose()
  nano.dispose()
  return folder
}
