// Golden values of the checkpoints in test/fixtures, made by make_gpt2.py there with transformers
// (eager attention), and the runs that the tests compare with them.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type BackboneDType,
  type CausalBackbone,
  type LoadBackboneOptions,
  loadBackbone,
} from '../../lib/backbone/index.js'
import { openSafetensors, type Tensor, tensor } from '../../lib/torch/index.js'

const FIXTURES = fileURLToPath(new URL('../fixtures', import.meta.url))

export const CHECKPOINTS = [
  'gpt2-plain',
  'gpt2-sharded',
  'gpt2-untied',
  'gpt2-base-names',
  'gpt2-inverse-layer-scale',
  'gpt2-unscaled',
  'gpt2-upcast',
] as const

export function fixture(name: string): string {
  return join(FIXTURES, name)
}

/** `loadBackbone` of a checkpoint that is a GPT-2. */
export async function loadCausal(
  source: string,
  options?: LoadBackboneOptions,
): Promise<CausalBackbone> {
  const backbone = await loadBackbone(source, options)
  if (backbone.kind !== 'causal') throw new Error(`${source} is no GPT-2`)
  return backbone
}

export interface Golden {
  rows: { ids: number[]; argmax: number[] }[]
  endOfTextId: number
  tokenization: { text: string; ids: number[]; decoded: string }[]
  /** Of row `i`: [T, N], or [T, H] for `hidden.float64`. Half precision: of `gpt2-upcast` alone. */
  values(i: number, what: `logits.${BackboneDType}` | 'hidden.float64'): Tensor
}

export function golden(name: string): Golden {
  const described = JSON.parse(readFileSync(join(fixture(name), 'expected.json'), 'utf8'))
  const file = openSafetensors(join(fixture(name), 'expected.safetensors'))
  return {
    ...described,
    values: (i: number, what: string) => file.tensor(`row${i}.${what}`),
  }
}

export function int64(values: number[][] | number[]): Tensor {
  return tensor(values, { dtype: 'int64' })
}

/** 0..count - 1 for each row. */
export function counted(rows: number, count: number, from = 0): number[][] {
  return Array.from({ length: rows }, () =>
    Array.from({ length: count }, (_, i) => from + i),
  )
}

/** Logits [T, N] of one text, in one pass. */
export async function logitsOf(backbone: CausalBackbone, ids: number[]): Promise<Tensor> {
  const x = await backbone.embed(int64([ids]))
  const { hidden } = await backbone.run({ x, positions: int64(counted(1, ids.length)) })
  return await backbone.head(hidden.select(0, 0))
}

/** The largest difference between two tensors of one shape. */
export function distance(a: Tensor, b: Tensor): number {
  if (a.shape.join() !== b.shape.join()) throw new Error(`${a} and ${b} differ in shape`)
  return a.sub(b).abs().amax().item()
}
