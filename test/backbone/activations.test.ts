import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ACTIVATIONS } from '../../lib/backbone/activations.js'
import { ScriptModule, type Tensor, tensor } from '../../lib/torch/index.js'
import { distance } from './golden.js'

// Values of transformers 5.18.0, by activations.py.
const { x, ...values }: Record<string, number[]> = JSON.parse(
  readFileSync(new URL('activations.json', import.meta.url), 'utf8'),
)
const float64 = (numbers: number[] = []) => tensor(numbers, { dtype: 'float64' })

test('every activation has its golden values', () => {
  expect([...ACTIVATIONS.keys()].sort()).toEqual(Object.keys(values).sort())
})

test.each([...ACTIVATIONS])(
  '%s gives the values of transformers',
  async (name, expression) => {
    const module = await ScriptModule.compile({
      name: 'Activation',
      source: `def forward(self, hidden: Tensor) -> Tensor:\n    return ${expression}\n`,
    })
    const given = (await module.call('forward', float64(x))) as Tensor
    // gelu_fast has its constant to ten digits.
    expect(distance(given, float64(values[name]))).toBeLessThan(1e-10)
    module.dispose()
  },
)
