// Who frees what: tidy, keep, grad mode in scopes that interleave.

import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import {
  enableGrad,
  isGradEnabled,
  keep,
  memory,
  noGrad,
  ones,
  parameter,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'

describe('tidy', () => {
  test('frees what a function made and did not return', async () => {
    let inner: Tensor | undefined
    const { tensors: before } = await settledMemory()
    const sum = tidy(() => {
      inner = ones([3]).mul(2)
      return inner.add(1).sum()
    })
    expect(inner?.isDisposed).toBe(true)
    expect(sum.item()).toBe(9)
    expect(memory().tensors).toBe(before + 1)
    sum.dispose()
  })

  test('gives back tensors in arrays, plain objects, Maps and Sets, nested', () => {
    const made = tidy(() => {
      const cycle: { tensor: Tensor; self?: unknown } = { tensor: ones([1]) }
      cycle.self = cycle
      return {
        list: [ones([1]), [ones([1])]],
        map: new Map([['a', new Set([ones([1])])]]),
        bare: Object.assign(Object.create(null) as { tensor?: Tensor }, {
          tensor: ones([1]),
        }),
        cycle,
        rest: [null, undefined, 1, 'x'],
      }
    })
    const [first, [second]] = made.list as [Tensor, [Tensor]]
    const [third] = made.map.get('a') as Set<Tensor>
    const all = [first, second, third as Tensor, made.bare.tensor, made.cycle.tensor]
    expect(all.map((t) => t?.isDisposed)).toEqual([false, false, false, false, false])
  })

  test('moves what it gives back to the scope around', () => {
    let inner: Tensor | undefined
    tidy(() => {
      inner = tidy(() => ones([1]).add(1))
      expect(inner.isDisposed).toBe(false)
    })
    expect(inner?.isDisposed).toBe(true)
  })

  test('leaves alone what was made outside', () => {
    const outside = ones([1])
    expect(tidy(() => outside)).toBe(outside)
    tidy(() => {
      outside.add(1)
    })
    expect(outside.isDisposed).toBe(false)
  })

  test('frees everything when the function throws', () => {
    let inner: Tensor | undefined
    expect(() =>
      tidy(() => {
        inner = ones([1])
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(inner?.isDisposed).toBe(true)
  })

  test('frees everything when an async function throws', async () => {
    const made: Tensor[] = []
    await expect(
      tidy(async () => {
        made.push(ones([1]))
        await sleep(1)
        made.push(ones([1]))
        throw new Error('no')
      }),
    ).rejects.toThrow('no')
    expect(made.map((t) => t.isDisposed)).toEqual([true, true])
  })

  test('owns what an async function makes after it awaited', async () => {
    const made: Tensor[] = []
    const kept = await tidy(async () => {
      await sleep(1)
      made.push(ones([1]))
      const p = parameter(ones([2]))
      await p.mul(3).sum().backward()
      made.push((await p.grad()) as Tensor)
      return made[1]?.add(0) as Tensor
    })
    expect(made.map((t) => t.isDisposed)).toEqual([true, true])
    expect(kept.toArray()).toEqual([3, 3])
  })

  test('does not free what another scope that runs at the same time made', async () => {
    const run = (name: number, pauses: readonly number[]) =>
      tidy(async () => {
        let total = zeros([4])
        for (const ms of pauses) {
          const part = total.add(name)
          await sleep(ms)
          total = await tidy(async () => {
            const step = part.mul(1)
            await sleep(ms)
            return step.add(0)
          })
        }
        return total
      })
    const [a, b, c] = await Promise.all([
      run(1, [3, 1, 2]),
      run(10, [1, 1, 1, 1, 1]),
      run(100, [5]),
    ])
    expect(a.toArray()).toEqual([3, 3, 3, 3])
    expect(b.toArray()).toEqual([50, 50, 50, 50])
    expect(c.toArray()).toEqual([100, 100, 100, 100])
  })

  test('gives the results of jobs that nobody awaited to the scope around', async () => {
    let late: Promise<Tensor | null> | undefined
    const held = await tidy(async () => {
      await tidy(async () => {
        const p = parameter(ones([1]))
        await p.mul(2).backward()
        late = p.grad()
      })
      const gradient = (await late) as Tensor
      expect(gradient.isDisposed).toBe(false)
      return [gradient.item(), gradient] as const
    })
    expect(held[0]).toBe(2)
  })

  test('gives back what is no tensor as it is', async () => {
    expect(tidy(() => 5)).toBe(5)
    expect(tidy(() => null)).toBe(null)
    expect(await tidy(async () => 'x')).toBe('x')
  })
})

describe('keep', () => {
  test('takes a tensor out of every scope', () => {
    let kept: Tensor | undefined
    tidy(() => {
      tidy(() => {
        kept = keep(ones([1]))
      })
    })
    expect(kept?.isDisposed).toBe(false)
    kept?.dispose()
    expect(() => keep({} as Tensor)).toThrow(TypeError)
  })
})

describe('grad mode', () => {
  test('is off inside noGrad only', () => {
    const p = parameter(ones([1]))
    expect(p.mul(2).requiresGrad).toBe(true)
    expect(noGrad(() => p.mul(2).requiresGrad)).toBe(false)
    expect(noGrad(() => enableGrad(() => p.mul(2).requiresGrad))).toBe(true)
    expect(noGrad(isGradEnabled)).toBe(false)
    expect(isGradEnabled()).toBe(true)
    expect(p.mul(2).requiresGrad).toBe(true)
  })

  test('comes back after a throw', () => {
    expect(() =>
      noGrad(() => {
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(parameter(ones([1])).mul(2).requiresGrad).toBe(true)
  })

  test('follows each of two async functions that interleave', async () => {
    const p = parameter(ones([1]))
    const watch = async (turns: number) => {
      const seen: boolean[] = []
      for (let i = 0; i < turns; i++) {
        seen.push(p.mul(2).requiresGrad)
        await sleep(1)
      }
      return seen
    }
    const [off, on] = await Promise.all([noGrad(() => watch(5)), watch(5)])
    expect(off).toEqual(Array(5).fill(false))
    expect(on).toEqual(Array(5).fill(true))
  })

  test('travels with a job', async () => {
    const { svd } = await import('../../lib/torch/index.js')
    const p = parameter(
      tensor([
        [1, 2],
        [3, 5],
      ]),
    )
    const [inside, outside] = await Promise.all([noGrad(() => svd(p)), svd(p)])
    expect(inside.S.requiresGrad).toBe(false)
    expect(outside.S.requiresGrad).toBe(true)
  })

  test('survives inside tidy', async () => {
    const p = parameter(ones([1]))
    const flag = await noGrad(() =>
      tidy(async () => {
        await sleep(1)
        return p.mul(1).requiresGrad
      }),
    )
    expect(flag).toBe(false)
  })
})
