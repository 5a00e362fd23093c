// The watch itself: ops that read the CPU are caught, where `meta` takes them without a word; what is
// meant to be is let through.

import { expect, test } from 'vitest'
import {
  cat,
  embedding,
  linear,
  ones,
  ScriptModule,
  type Tensor,
  tensor,
} from '../../lib/torch/index.js'
import { watched } from './watch.js'

const matrix = (): Tensor => ones([4, 3], { device: 'meta' })
const index = (device: string): Tensor => tensor([0, 2], { dtype: 'int64', device })

test('an index on the CPU is caught and named', async () => {
  const onCpu = index('cpu')
  const selected = await watched(async () => matrix().indexSelect(0, onCpu))
  expect(selected.value.shape).toEqual([2, 3])
  expect(selected.cpuInputs).toEqual(['aten::index_select reads int64 [2] on the CPU'])
  const looked = await watched(async () => embedding(matrix(), onCpu))
  expect(looked.cpuInputs).toContain('aten::embedding reads int64 [2] on the CPU')
})

test('a factor on the CPU is caught', async () => {
  const onCpu = ones([3, 2])
  const { cpuInputs } = await watched(async () => matrix().matmul(onCpu))
  expect(cpuInputs).toContain('aten::mm reads float32 [3, 2] on the CPU')
})

test('a weight on the CPU is caught', async () => {
  const onCpu = ones([2, 3])
  const { cpuInputs } = await watched(async () => linear(matrix(), onCpu))
  expect(cpuInputs).toContain('aten::linear reads float32 [2, 3] on the CPU')
})

test('one of a list is caught', async () => {
  const onCpu = ones([1, 3])
  const { cpuInputs } = await watched(async () => cat([matrix(), onCpu], 0).shape)
  expect(cpuInputs).toContain('aten::cat reads float32 [1, 3] on the CPU')
})

test('a tensor that a module makes on the CPU is caught', async () => {
  const source = `
def forward(self, x: Tensor) -> Tensor:
    return torch.index_select(x, 0, torch.arange(2))
`
  const module = await ScriptModule.compile({ name: 'Forgetful', source })
  const { cpuInputs } = await watched(async () => module.call('forward', matrix()))
  expect(cpuInputs).toContain('aten::index_select reads int64 [2] on the CPU')
  module.dispose()
})

test('floats that are made on the CPU and moved are caught', async () => {
  const { cpuInputs } = await watched(async () => matrix().mul(ones([3]).to('meta')))
  expect(cpuInputs).toContain('aten::to reads float32 [3] on the CPU')
})

test('ids that are counted out and moved are not, nor are single numbers', async () => {
  const { cpuInputs, value } = await watched(async () =>
    matrix().indexSelect(0, index('meta')).mul(0.5).add(tensor(2)),
  )
  expect(cpuInputs).toEqual([])
  expect(value.shape).toEqual([2, 3])
})

test('what is read back is counted', async () => {
  const { reads, value } = await watched(async () => {
    return await matrix().sum(0).read()
  })
  expect(reads).toEqual([[3]])
  expect(value).toHaveLength(3)
})
