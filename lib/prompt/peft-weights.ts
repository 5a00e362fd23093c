// The one tensor of a PEFT adapter, `prompt_embeddings`, and where in it the keys and values of a
// prefix lie (peft 0.21.0: peft_model.py, `get_prompt`). Knows no configuration.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Backbone } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import { stack, type Tensor, tidy, zeros } from '../torch/index.js'
import { keyValueShape } from './fit.js'
import type { Factors } from './methods/method.js'
import { PICKLE_FILE, WEIGHTS_FILE } from './peft-config.js'
import { openTensors } from './tensor-file.js'

export const TENSOR = 'prompt_embeddings'

/**
 * The first P rows of an adapter's tensor, float32, on storage of their own.
 *
 * @param shape what its configuration makes the tensor
 * @throws LoptError `ERR_PROMPT_FILE` for a file that is missing or damaged, or another shape;
 *   `ERR_UNSUPPORTED` for a pickle, and for other tensors besides.
 */
export function readEmbeddings(
  folder: string,
  shape: readonly number[],
  P: number,
): Tensor {
  const path = join(folder, WEIGHTS_FILE)
  const refuse = (what: string): never => {
    throw new LoptError('ERR_PROMPT_FILE', `${path}: ${what}`)
  }
  if (!existsSync(path)) {
    if (!existsSync(join(folder, PICKLE_FILE))) refuse('there is no such file')
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${join(folder, PICKLE_FILE)} is a pickle, which can run code and is not read. Convert it in ` +
        'Python: PeftModel.from_pretrained(model, FOLDER).save_pretrained(FOLDER) writes ' +
        `${WEIGHTS_FILE}`,
    )
  }
  const file = openTensors(path)
  try {
    const others = file.names.filter((name) => name !== TENSOR)
    if (!file.has(TENSOR)) refuse(`there is no tensor ${TENSOR}`)
    if (others.length > 0) {
      throw new LoptError(
        'ERR_UNSUPPORTED',
        `${path}: holds ${others.join(', ')} besides ${TENSOR}: weights of the model were changed, ` +
          'and a prompt leaves them as they are',
      )
    }
    const { dtype, shape: found } = file.info(TENSOR)
    if (found.join() !== shape.join()) {
      refuse(
        `tensor ${TENSOR}: expected [${shape.join(', ')}] but found [${found.join(', ')}]`,
      )
    }
    // of which each value is a float32 too
    if (!['float32', 'float16', 'bfloat16'].includes(dtype)) {
      refuse(`tensor ${TENSOR}: expected float32, float16 or bfloat16 but found ${dtype}`)
    }
    return tidy(() => {
      const embeddings = file.tensor(TENSOR).slice(0, 0, P).to('float32').clone()
      if (embeddings.isfinite().all().item() !== 1) {
        refuse(`tensor ${TENSOR}: holds values that are not finite`)
      }
      return embeddings
    })
  } finally {
    file.dispose()
  }
}

/**
 * The pair of a key and a value that PEFT gives to a layer, of N. An encoder-decoder's list it lays out
 * twice and cuts into fours, and of each four the first two take effect: with an even N layers share
 * pairs, and every other pair is never used.
 */
function pairOf(layer: number, N: number, { kind }: Backbone): number {
  return kind === 'causal' ? layer : (2 * layer) % N
}

/** The least N with a pair for each layer alone: an odd one for an encoder-decoder. */
export function pairsFor(backbone: Backbone): number {
  const { layers } = keyValueShape(backbone)
  return backbone.kind === 'causal' || layers % 2 === 1 ? layers : layers + 1
}

/** K and V [L, P, heads · D] of PEFT's [P, 2 N heads · D], as PEFT's layers get them. */
export function splitPairs(
  embeddings: Tensor,
  N: number,
  backbone: Backbone,
): Factors<'K' | 'V'> {
  return tidy(() => {
    const { layers, heads, headSize } = keyValueShape(backbone)
    const P = embeddings.shape[0] as number
    const pairs = embeddings.view([P, N, 2, heads * headSize])
    const all = (which: 0 | 1) =>
      stack(
        Array.from({ length: layers }, (_, layer) =>
          pairs.select(1, pairOf(layer, N, backbone)).select(1, which),
        ),
      )
    return { K: all(0), V: all(1) }
  })
}

/** PEFT's [P, 2 N heads · D] of K and V [L, P, heads · D], N as of `pairsFor`; 0 where no layer looks. */
export function joinPairs({ K, V }: Factors<'K' | 'V'>, backbone: Backbone): Tensor {
  return tidy(() => {
    const [layers, P, size] = K.shape as [number, number, number]
    const N = pairsFor(backbone)
    const pairs: Tensor[] = Array.from({ length: N }, () => zeros([P, 2, size]))
    for (let layer = 0; layer < layers; layer++) {
      const pair = stack([K.select(0, layer), V.select(0, layer)], 1)
      pairs[pairOf(layer, N, backbone)] = pair
    }
    return stack(pairs, 1).view([P, 2 * N * size])
  })
}
