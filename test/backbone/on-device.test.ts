// How weights come to a device: as they lie in the file, converted there. On `meta`, which shows every op and what it reads.

import { expect, test } from 'vitest'
import { createBackbone, loadBackbone } from '../../lib/backbone/index.js'
import { type RecordedOp, recordOps } from '../../lib/torch/index.js'
import { fixture } from './golden.js'

/** Of each copy, but of single numbers, what it writes and what it reads: devices and dtypes. */
function copiesOf(ops: readonly RecordedOp[]) {
  return ops.flatMap(({ name, inputs: [to, from] }) =>
    name === 'aten::copy_' && to && from && from.shape.length > 0 ? [{ to, from }] : [],
  )
}

const isAlike = ({ to, from }: ReturnType<typeof copiesOf>[number]) =>
  to.dtype === from.dtype

test.each([
  ['gpt2-plain', 'bfloat16'],
  ['t5-plain', 'float16'],
] as const)('weights of %s are converted to %s on the device', async (name, dtype) => {
  const { value, ops } = await recordOps(
    () => loadBackbone(fixture(name), { device: 'meta', dtype }),
    { inputs: true },
  )
  const copies = copiesOf(ops)
  const { size } = value.parameters()
  // Each tensor leaves the CPU once, as it is.
  const moves = copies.filter(({ from }) => from.device === 'cpu')
  expect(moves.length).toBe(size)
  expect(moves.every(isAlike)).toBe(true)
  const conversions = copies.filter((copy) => !isAlike(copy))
  expect(conversions.every(({ from }) => from.device === 'meta')).toBe(true)
  const converted = [...value.parameters().values()].filter((one) => one.dtype === dtype)
  expect(conversions.length).toBe(converted.length)
  value.dispose()
})

test('weights that are drawn are converted on the device', async () => {
  const { tokenizer } = await loadBackbone(fixture('gpt2-plain'))
  const config = { hiddenSize: 32, layers: 1, heads: 2, positions: 8 }
  const options = { seed: 0, tokenizer, dtype: 'bfloat16' } as const
  const { value, ops } = await recordOps(
    () => createBackbone(config, { ...options, device: 'meta' }),
    { inputs: true },
  )
  const isConverted = copiesOf(ops).filter((copy) => !isAlike(copy))
  const { size } = value.parameters()
  // Of the token embedding the rows that a prompt knows its model by, beside.
  const [rows, ...others] = isConverted.filter(({ from }) => from.device === 'cpu')
  expect(rows?.from.shape[0]).toBeLessThan(tokenizer.vocabSize)
  expect(others).toEqual([])
  expect(isConverted.length).toBe(size + 1)
  const here = await createBackbone(config, options)
  expect(value.fingerprint).toBe(here.fingerprint)
  for (const one of [value, here]) one.dispose()
})
