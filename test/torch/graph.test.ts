// Captured work: on a CPU it is run again, which must be as good; and what a capture means for the jobs of others.

import { afterEach, describe, expect, test, vi } from 'vitest'
import { native } from '../../lib/native.js'
import { binding, currentOwner, inContext } from '../../lib/torch/context.js'
import {
  AdamW,
  captureGraph,
  clipGradNorm,
  isGradEnabled,
  noGrad,
  parameter,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'

const numbers = (one: Tensor | undefined) => one?.toArray()

describe('captured work', () => {
  test('is done again with what its tensors hold now, into the same results', async () => {
    const x = zeros([3])
    const graph = await captureGraph('cpu', () => [x.mul(2), x.sum()])
    const seen = []
    for (const values of [
      [1, 2, 3],
      [4, 5, 6],
    ]) {
      await x.copy_(tensor(values))
      const results = await graph.replay()
      seen.push(results)
      expect(results.map(numbers)).toEqual([
        values.map((value) => 2 * value),
        values.reduce((a, b) => a + b),
      ])
    }
    expect(seen[0]).toBe(seen[1])
    await graph.dispose()
    await expect(graph.replay()).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
    await graph.dispose()
  })

  test('has the grad mode of the capture', async () => {
    const modes: boolean[] = []
    const work = () => {
      modes.push(isGradEnabled())
      return []
    }
    const without = await noGrad(() => captureGraph('cpu', work))
    const within = await captureGraph('cpu', work)
    await without.replay()
    await noGrad(() => within.replay())
    expect(modes).toEqual([false, true])
  })

  test('keeps no tensor but its results, however often', async () => {
    const x = zeros([4, 4])
    const graph = await captureGraph('cpu', async () => {
      const product = x.matmul(x).add(1)
      return [product.sum(), product.amax()]
    })
    await graph.replay()
    const before = await settledMemory()
    for (let i = 0; i < 50; i += 1) await graph.replay()
    expect((await settledMemory()).tensors).toBe(before.tensors)
    await graph.dispose()
    expect((await settledMemory()).tensors).toBe(before.tensors - 2)
  })

  test('that fails fails the replay, and can go on', async () => {
    const x = zeros([2])
    let isBroken = true
    const graph = await captureGraph('cpu', () => [isBroken ? x.reshape([3]) : x.add(1)])
    await expect(graph.replay()).rejects.toThrow(RangeError)
    isBroken = false
    expect((await graph.replay()).map(numbers)).toEqual([[1, 1]])
  })

  test('must be a function that gives tensors', async () => {
    await expect(captureGraph('cpu', 3 as never)).rejects.toThrow(TypeError)
    const graph = await captureGraph('cpu', () => [1] as never)
    await expect(graph.replay()).rejects.toThrow(/array of Tensors/)
  })

  test('may be a whole step of training: equal to the bit', async () => {
    const found: number[][] = []
    for (const isCaptured of [false, true]) {
      const p = parameter(tensor([1, -2, 3]))
      const optimizer = new AdamW([p], { lr: 0.1 })
      const target = zeros([3])
      const step = async () => {
        const loss = p.sub(target).square().sum()
        await loss.backward()
        await clipGradNorm([p], 1)
        await optimizer.step()
        await optimizer.zeroGrad()
        return [loss.detach()]
      }
      const graph = await captureGraph('cpu', step)
      const losses: number[] = []
      for (let i = 0; i < 10; i += 1) {
        await target.copy_(tensor([i, 1, -i]))
        if (i === 5) await optimizer.setLearningRate(0.01)
        const [loss] = isCaptured ? await graph.replay() : await step()
        losses.push(loss?.item() as number)
      }
      found.push([...losses, ...(p.toArray() as number[])])
    }
    expect(found[1]).toEqual(found[0])
  })
})

describe('while a graph is captured', () => {
  const owned = <T>(owner: number, work: () => T) => inContext({ owner }, work)
  afterEach(() => native().releaseExecutor())

  test('its own jobs alone are run, in their order; the others wait', async () => {
    const order: string[] = []
    const job = async (name: string) => {
      await zeros([2]).add_(1)
      order.push(name)
    }
    owned(7, () => binding().claimExecutor())
    const other = job('other')
    await owned(7, () => Promise.all([job('first'), job('second')]))
    expect(order).toEqual(['first', 'second'])
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(order).toEqual(['first', 'second'])
    native().releaseExecutor()
    await other
    expect(order).toEqual(['first', 'second', 'other'])
  })

  test('values are read for whoever asks, when his turn comes', async () => {
    const x = zeros([2])
    owned(7, () => binding().claimExecutor())
    let isRead = false
    const others = x.read().then(() => {
      isRead = true
    })
    await owned(7, () => x.read())
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(isRead).toBe(false)
    native().releaseExecutor()
    await others
  })

  test('another is not captured inside it', async () => {
    await expect(owned(7, () => captureGraph('cpu', () => []))).rejects.toThrow(
      /being captured/,
    )
  })
})

describe('a capture that fails', () => {
  // As on a GPU, but for the recording: this addon's graphs hold nothing.
  const capturing = () => vi.spyOn(native(), 'graphCaptures').mockReturnValue(true)
  afterEach(() => vi.restoreAllMocks())

  test('says why its work failed, frees what it made, and lets the others go on', async () => {
    capturing()
    const disposed = vi.spyOn(native(), 'graphDispose')
    vi.spyOn(native(), 'graphEnd').mockRejectedValue(new Error('the capture is broken'))
    const x = zeros([2])
    const before = await settledMemory()
    const failing = captureGraph('cpu', async () => {
      await x.add(1).add_(1)
      return [x.reshape([3])]
    })
    const others = x.add_(1)
    await expect(failing).rejects.toThrow(/reshape/)
    await others
    expect(disposed).toHaveBeenCalledOnce()
    expect((await settledMemory()).tensors).toBe(before.tensors)
  })

  test('at its end frees the results', async () => {
    capturing()
    const disposed = vi.spyOn(native(), 'graphDispose')
    vi.spyOn(native(), 'graphEnd').mockRejectedValueOnce(new Error('no memory is left'))
    const x = zeros([2])
    const before = await settledMemory()
    await expect(captureGraph('cpu', () => [x.mul(2)])).rejects.toThrow(/no memory/)
    expect(disposed).toHaveBeenCalledOnce()
    expect((await settledMemory()).tensors).toBe(before.tensors)
    await x.add_(1)
  })

  test('keeps none from being captured after it, each with a number of its own', async () => {
    capturing()
    const owners: number[] = []
    const capture = (isBroken: boolean) =>
      captureGraph('cpu', () => {
        owners.push(currentOwner())
        if (isBroken) throw new Error('broken')
        return []
      })
    const all = await Promise.allSettled([capture(false), capture(true), capture(false)])
    expect(all.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
    ])
    expect(new Set(owners).size).toBe(3)
  })
})
