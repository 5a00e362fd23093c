// What a user's own TypeScript sees: checked by tsc, and run as it is where Node strips types.

import { createPrompt, LoptError, loadBackbone, type Prompt } from 'lopt'
import { createServer } from 'lopt/server'
import { ones, type Tensor } from 'lopt/torch'

export async function make(): Promise<Prompt> {
  const backbone = await loadBackbone('builtin:nano-gpt2')
  return createPrompt(backbone, { method: 'lopt-1', length: 4, rank: 2, seed: 0 })
}
const matrix: Tensor<'float32'> = ones([2, 3])
// @ts-expect-error a shape is a list of numbers
export const wrong = (): unknown => ones('2, 3')
console.log(
  'typed',
  matrix.shape.join(),
  typeof createServer,
  typeof LoptError,
  typeof (await make()),
)
