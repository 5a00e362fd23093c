import { afterAll, describe, expect, test } from 'vitest'
import type { CausalBackbone } from '../../lib/backbone/index.js'
import { CHECKPOINTS, distance, fixture, golden, loadCausal, logitsOf } from './golden.js'

describe.each(CHECKPOINTS)('%s', (name) => {
  const { rows, values } = golden(name)
  const opened: CausalBackbone[] = []
  const open = async (dtype: 'float32' | 'float64') => {
    const backbone = await loadCausal(fixture(name), { dtype })
    opened.push(backbone)
    return backbone
  }
  afterAll(() => {
    for (const backbone of opened) backbone.dispose()
  })

  test('gives the float32 logits of transformers within 1e-4', async () => {
    const backbone = await open('float32')
    for (const [i, { ids, argmax }] of rows.entries()) {
      const logits = await logitsOf(backbone, ids)
      expect(distance(logits, values(i, 'logits.float32'))).toBeLessThan(1e-4)
      expect(logits.argmax(1).toArray()).toEqual(argmax)
    }
  })

  test('gives the float64 logits of transformers within 1e-11', async () => {
    const backbone = await open('float64')
    for (const [i, { ids }] of rows.entries()) {
      const logits = await logitsOf(backbone, ids)
      expect(distance(logits, values(i, 'logits.float64'))).toBeLessThan(1e-11)
    }
  })
})
