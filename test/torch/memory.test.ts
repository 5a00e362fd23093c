// Live tensors and their bytes stay flat: in loops, in training steps, after failures.

import { describe, expect, test } from 'vitest'
import {
  Adam,
  crossEntropy,
  Generator,
  memory,
  ones,
  parameter,
  randint,
  randn,
  tidy,
  zeros,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'

describe('memory', () => {
  test('counts tensors and the bytes that they own, shared ones once', async () => {
    const before = await settledMemory()
    const t = zeros([10, 10])
    const view = t.transpose(0, 1)
    expect(memory().tensors - before.tensors).toBe(2)
    expect(memory().bytes - before.bytes).toBe(400)
    t.dispose()
    expect(memory().bytes - before.bytes).toBe(400)
    view.dispose()
    expect(memory()).toEqual(before)
  })

  test('is as before after a loop with dispose', async () => {
    const before = await settledMemory()
    for (let i = 0; i < 1000; i++) {
      const t = zeros([1000])
      t.add(1).dispose()
      t.dispose()
    }
    expect(memory()).toEqual(before)
  })

  test('is as before after failures in a scope', async () => {
    const before = await settledMemory()
    for (let i = 0; i < 100; i++) {
      expect(() => tidy(() => zeros([2, 3]).matmul(ones([2, 3])))).toThrow(RangeError)
    }
    expect(memory()).toEqual(before)
  })

  test('stays flat over 300 training steps', async () => {
    const generator = new Generator({ seed: 0 })
    // Disposed of here: the collector would otherwise do so somewhere in the loop.
    using start = randn([32, 8], { generator })
    const weight = parameter(start)
    const optimizer = new Adam([weight], { lr: 0.01 })
    await settledMemory()
    const counts: { tensors: number; bytes: number }[] = []
    for (let step = 0; step < 300; step++) {
      await tidy(async () => {
        const x = randn([16, 32], { generator })
        const loss = crossEntropy(x.matmul(weight), randint(0, 8, [16], { generator }))
        await optimizer.zeroGrad()
        await loss.backward()
        await optimizer.step()
        await loss.read()
      })
      if (step >= 10) counts.push(memory())
    }
    expect(new Set(counts.map((count) => count.tensors)).size).toBe(1)
    expect(new Set(counts.map((count) => count.bytes)).size).toBe(1)
    optimizer.dispose()
    weight.dispose()
  })
})
