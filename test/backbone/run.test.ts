import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CausalBackbone } from '../../lib/backbone/index.js'
import {
  cat,
  Generator,
  memory,
  randn,
  type Tensor,
  tensor,
  zeros as zeroTensor,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'
import {
  counted,
  distance,
  fixture,
  golden,
  int64,
  loadCausal,
  logitsOf,
} from './golden.js'

// Exact up to the order of additions: in float64 that leaves a wide gap to any real mistake.
const CLOSE = 1e-12

let backbone: CausalBackbone
let L: number
const { rows } = golden('gpt2-plain')
const texts = rows.map((row) => row.ids)
const longest = Math.max(...texts.map((ids) => ids.length))
const S = longest + 2 // so that every row is padded

beforeAll(async () => {
  backbone = await loadCausal(fixture('gpt2-plain'), { dtype: 'float64' })
  L = backbone.config.layers
})
afterAll(() => backbone.dispose())

function zeros(count: number): number[] {
  return Array.from({ length: count }, () => 0)
}

/** The rows' ids, positions and mask with the text at the right or the left end. */
function padded(side: 'left' | 'right') {
  const arranged = (text: number[], pad: number[]) =>
    side === 'right' ? [...text, ...pad] : [...pad, ...text]
  const make = (cell: (ids: number[]) => number[]) =>
    texts.map((ids) => arranged(cell(ids), zeros(S - ids.length)))
  return {
    ids: int64(make((ids) => ids)),
    positions: int64(make((ids) => ids.map((_, i) => i))),
    mask: tensor(
      make((ids) => ids.map(() => 1)),
      { dtype: 'bool' },
    ),
    start: (row: number) => (side === 'right' ? 0 : S - (texts[row] as number[]).length),
  }
}

async function batchLogits(o: {
  side: 'left' | 'right'
  masked: boolean
}): Promise<Tensor[]> {
  const { ids, positions, mask, start } = padded(o.side)
  const x = await backbone.embed(ids)
  const { hidden } = await backbone.run({
    x,
    positions,
    mask: o.masked ? mask : undefined,
  })
  return await Promise.all(
    texts.map(async ({ length }, row) => {
      const own = hidden.select(0, row).slice(0, start(row), start(row) + length)
      return await backbone.head(own)
    }),
  )
}

describe('padding', () => {
  test.each([
    { side: 'right', masked: false },
    { side: 'right', masked: true },
    { side: 'left', masked: true },
  ] as const)('$side-padded rows (mask: $masked) equal unpadded ones', async (o) => {
    const batch = await batchLogits(o)
    for (const [row, ids] of texts.entries()) {
      expect(distance(batch[row] as Tensor, await logitsOf(backbone, ids))).toBeLessThan(
        CLOSE,
      )
    }
  })

  test('a padding query gives finite values', async () => {
    const { ids, positions, mask } = padded('left')
    const { hidden } = await backbone.run({
      x: await backbone.embed(ids),
      positions,
      mask,
    })
    expect(hidden.isfinite().all().item()).toBe(1)
  })
})

describe('past', () => {
  const ids = [...(rows.at(-1)?.ids ?? [])]

  test.each([1, 5])('text run in pieces of %i equals text run at once', async (piece) => {
    let past: Tensor[] | undefined
    const pieces: Tensor[] = []
    for (let at = 0; at < ids.length; at += piece) {
      const now = ids.slice(at, at + piece)
      const positions = int64(counted(1, now.length, at))
      const result = await backbone.run({
        x: await backbone.embed(int64([now])),
        positions,
        past,
      })
      past = result.present
      pieces.push(result.hidden.select(0, 0))
    }
    const logits = await backbone.head(cat(pieces, 0))
    expect(distance(logits, await logitsOf(backbone, ids))).toBeLessThan(CLOSE)
  })

  test('present holds k and v of every layer, the past included', async () => {
    const { heads, hiddenSize } = backbone.config
    const first = await backbone.run({
      x: await backbone.embed(int64([ids.slice(0, 4)])),
      positions: int64(counted(1, 4)),
    })
    expect(first.present.length).toBe(2 * L)
    const second = await backbone.run({
      x: await backbone.embed(int64([ids.slice(4, 6)])),
      positions: int64(counted(1, 2, 4)),
      past: first.present,
    })
    for (const [i, kept] of second.present.entries()) {
      expect(kept.shape).toEqual([1, heads, 6, hiddenSize / heads])
      expect(kept.slice(2, 0, 4).equal(first.present[i] as Tensor)).toBe(true)
    }
  })

  test('without present the hidden states are the same, and no other tensor is made', async () => {
    const options = {
      x: await backbone.embed(int64([ids])),
      positions: int64(counted(1, ids.length)),
    }
    const whole = await backbone.run(options)
    const { tensors } = await settledMemory()
    const { hidden, present } = await backbone.run({ ...options, present: false })
    expect(present).toEqual([])
    expect(memory().tensors).toBe(tensors + 1)
    expect(hidden.equal(whole.hidden)).toBe(true)
  })

  test('left-padded rows continued from a past equal unpadded ones', async () => {
    const { ids: all, positions, mask } = padded('left')
    const cut = S - 3
    const at = async (from: number, to: number, past?: Tensor[]) =>
      await backbone.run({
        x: await backbone.embed(all.slice(1, from, to)),
        positions: positions.slice(1, from, to),
        mask: mask.slice(1, 0, to),
        past,
      })
    const before = await at(0, cut)
    const { hidden } = await at(cut, S, before.present)
    for (const [row, text] of texts.entries()) {
      const count = Math.min(3, text.length)
      const own = hidden.select(0, row).slice(0, 3 - count, 3)
      const whole = await logitsOf(backbone, text)
      const expected = whole.slice(0, text.length - count, text.length)
      expect(distance(await backbone.head(own), expected)).toBeLessThan(CLOSE)
    }
  })

  test('a past of batch 1 equals the same past in every row, also in its gradient', async () => {
    const generator = new Generator({ seed: 1 })
    const prefix = randn([1, 3, backbone.config.hiddenSize], {
      generator,
      dtype: 'float64',
    })
    const x = randn([2, 4, backbone.config.hiddenSize], { generator, dtype: 'float64' })
    const gradient = randn([2, 4, backbone.config.hiddenSize], {
      generator,
      dtype: 'float64',
    })

    const shared = await prefix.clone().requiresGrad_()
    const once = await backbone.run({ x: shared, positions: int64(counted(1, 3)) })
    const positions = int64(counted(2, 4, 3))
    const split = await backbone.run({ x, positions, past: once.present })
    await split.hidden.backward({ gradient })

    const repeated = await prefix.clone().requiresGrad_()
    const whole = await backbone.run({
      x: cat([repeated.expand([2, 3, -1]), x], 1),
      positions: int64(counted(2, 7)),
    })
    const after = whole.hidden.slice(1, 3, 7)
    await after.backward({ gradient })

    expect(distance(split.hidden, after)).toBeLessThan(CLOSE)
    const grads = [await shared.grad(), await repeated.grad()] as [Tensor, Tensor]
    expect(distance(...grads)).toBeLessThan(1e-11)
  })

  test('a past of several rows is that of them again and again, also in its gradient', async () => {
    const { hiddenSize } = backbone.config
    const generator = new Generator({ seed: 2 })
    const random = (shape: number[]) => randn(shape, { generator, dtype: 'float64' })
    const [prefixes, x, gradient] = [
      random([2, 3, hiddenSize]),
      random([6, 4, hiddenSize]),
      random([6, 4, hiddenSize]),
    ] as const
    const positions = int64(counted(6, 4, 3))
    const behind = async (rows: (past: Tensor) => Tensor) => {
      const given = await prefixes.clone().requiresGrad_()
      const { present } = await backbone.run({
        x: given,
        positions: int64(counted(2, 3)),
      })
      const { hidden } = await backbone.run({ x, positions, past: present.map(rows) })
      await hidden.backward({ gradient })
      return { hidden, gradient: (await given.grad()) as Tensor }
    }
    const shared = await behind((past) => past)
    const repeated = await behind((past) => cat([past, past, past], 0))
    expect(distance(shared.hidden, repeated.hidden)).toBeLessThan(CLOSE)
    expect(distance(shared.gradient, repeated.gradient)).toBeLessThan(1e-11)
    await expect(
      backbone.run({
        x: x.slice(0, 0, 5),
        positions: positions.slice(0, 0, 5),
        past: [],
      }),
    ).resolves.toBeDefined()
    const { present } = await backbone.run({
      x: prefixes,
      positions: int64(counted(2, 3)),
    })
    await expect(
      backbone.run({
        x: x.slice(0, 0, 5),
        positions: positions.slice(0, 0, 5),
        past: present,
      }),
    ).rejects.toThrow(/past\[0\].*\[5, /)
  })
})

describe('prefixes that run with their rows', () => {
  const P = 3
  const some = int64([
    [0, 0],
    [3, 2],
    [8, 1],
    [16, 4],
  ])

  /** Hidden states of rows behind prefixes, and the gradients of the prefixes and of the rows. */
  async function hiddenAndGradients(
    run: (prefixes: Tensor, x: Tensor) => Promise<Tensor>,
    { K = 1, T }: { K?: number; T: number },
  ): Promise<Tensor[]> {
    const generator = new Generator({ seed: 2 })
    const H = backbone.config.hiddenSize
    const random = (shape: number[]) =>
      randn(shape, { generator, dtype: 'float64' }).requiresGrad_()
    const prefixes = await random([K, P, H])
    const x = await random([4, T, H])
    const hidden = await run(prefixes, x)
    const weight = randn(hidden.shape, { generator, dtype: 'float64' })
    await hidden.mul(weight).sum().backward()
    return [hidden, (await prefixes.grad()) as Tensor, (await x.grad()) as Tensor]
  }

  function expectSame(together: Tensor[], apart: Tensor[]) {
    for (const [i, expected] of apart.entries()) {
      expect(together[i]?.shape).toEqual(expected.shape)
      expect(expected.abs().amax().item()).toBeGreaterThan(0.1)
      expect(distance(together[i] as Tensor, expected)).toBeLessThan(1e-11)
    }
  }

  test.each([
    ['one token', 1, undefined],
    ['one token that is asked for', 1, int64([[0], [0], [0], [0]])],
    ['all positions', S, undefined],
    ['asked positions', S, some],
  ])('gives what two runs give: %s', async (_, T, queries) => {
    const positions = int64(counted(4, T, P))
    const together = await hiddenAndGradients(
      (prefixes, x) => backbone.runWithPrefixes({ prefixes, x, positions, queries }),
      { T },
    )
    const apart = await hiddenAndGradients(
      async (prefixes, x) => {
        const { present: past } = await backbone.run({
          x: prefixes,
          positions: int64(counted(1, P)),
        })
        return (await backbone.run({ x, positions, past, queries })).hidden
      },
      { T },
    )
    expectSame(together, apart)
  })

  // The second prefix is two vectors shorter.
  test.each([
    ['as many rows behind each', undefined, [0, 0, 1, 1], false],
    ['rows behind each as they come', int64([1, 0, 1, 1]), [1, 0, 1, 1], false],
    ['prefixes of several lengths', undefined, [0, 0, 1, 1], true],
  ])('of each row stand where it says: %s', async (_, owners, owner, isPadded) => {
    const lengths = [P, isPadded ? P - 2 : P]
    const of = (row: number) => lengths[owner[row] as number] as number
    const positions = int64(owner.map((_, row) => counted(1, S, of(row))[0] as number[]))
    const visible = owner.map((_, row) =>
      Array.from({ length: P + S }, (_, j) => Number(j < of(row) || j >= P)),
    )
    const mask = isPadded ? tensor(visible, { dtype: 'bool' }) : undefined
    const together = await hiddenAndGradients(
      (prefixes, x) =>
        backbone.runWithPrefixes({ prefixes, x, positions, owners, mask, queries: some }),
      { K: 2, T: S },
    )
    const apart = await hiddenAndGradients(
      async (prefixes, x) => {
        const rows = owner.map(async (prefix, row) => {
          const own = {
            prefixes: prefixes.slice(0, prefix, prefix + 1).slice(1, 0, of(row)),
            x: x.slice(0, row, row + 1),
            positions: positions.slice(0, row, row + 1),
            queries: some.slice(0, row, row + 1),
          }
          return await backbone.runWithPrefixes(own)
        })
        return cat(await Promise.all(rows), 0)
      },
      { K: 2, T: S },
    )
    expectSame(together, apart)
  })

  test('is refused where it or the rows do not fit', async () => {
    const H = backbone.config.hiddenSize
    const float64 = (shape: number[]) => zeroTensor(shape, { dtype: 'float64' })
    const right = {
      prefixes: float64([1, P, H]),
      x: float64([2, 4, H]),
      positions: int64(counted(2, 4, P)),
    }
    const refused = (wrong: object) =>
      expect(backbone.runWithPrefixes({ ...right, ...wrong })).rejects
    await refused({ prefixes: float64([P, H]) }).toThrow(/prefixes of shape \[K, P, 32\]/)
    await refused({ prefixes: zeroTensor([1, P, H]) }).toThrow(/prefixes to be float64/)
    await refused({ prefixes: float64([3, P, H]) }).toThrow(/3 prefixes.* 2 rows/)
    await refused({ owners: int64([[0]]) }).toThrow(/owners of shape \[2\]/)
    for (const wrong of [-1, 1]) {
      await refused({ owners: tensor([0, wrong], { dtype: 'int64' }) }).toThrow(
        new RangeError(
          `Expected owners in 0..0, the prefixes that are given, but received ${wrong}`,
        ),
      )
    }
    await refused({ prefixes: float64([1, 65, H]) }).toThrow(
      new RangeError(
        'Expected prefixes of 1..64 vectors, the positions that this model has, but received 65',
      ),
    )
    await refused({ mask: zeroTensor([2, 4], { dtype: 'bool' }) }).toThrow(
      /mask of shape/,
    )
    await refused({ x: float64([2, 4, H + 1]) }).toThrow(/x of shape/)
    await refused({ positions: int64(counted(2, 4, 61)) }).toThrow(/positions in 0\.\.63/)
    await refused({ queries: int64([[0]]) }).toThrow(/queries of shape/)
  })
})

describe('rows behind keys and values that they share', () => {
  const H = 32
  const P = 3
  const some = int64([[0], [3], [8], [16]])

  // The second past is two positions shorter.
  test.each([
    ['as many behind each', undefined, [0, 0, 1, 1], false, undefined],
    ['as they come', [1, 0, 1, 1], [1, 0, 1, 1], false, some],
    ['of several lengths', [1, 0, 1, 1], [1, 0, 1, 1], true, some],
  ])(
    'give what each gives behind its own: %s',
    async (_, owners, owner, isPadded, queries) => {
      const found: Tensor[][] = []
      const generator = new Generator({ seed: 4 })
      const random = (shape: number[]) =>
        randn(shape, { generator, dtype: 'float64' }).requiresGrad_()
      const [x, prefixes] = [await random([4, S, H]), await random([2, P, H])]
      const weight = randn([4, queries ? 1 : S, H], { generator, dtype: 'float64' })
      const visible = owner.map((past) =>
        Array.from({ length: P + S }, (_, j) => Number(j >= P || j < P - 2 * past)),
      )
      const rows = {
        ...{ x, queries, positions: int64(counted(4, S, P)) },
        mask: isPadded ? tensor(visible, { dtype: 'bool' }) : undefined,
      }
      for (const isShared of [true, false]) {
        await Promise.all([x.zeroGrad(), prefixes.zeroGrad()])
        const places = int64(counted(2, P))
        const { present: past } = await backbone.run({ x: prefixes, positions: places })
        const index = tensor(owner, { dtype: 'int64' })
        const { hidden, present } = isShared
          ? await backbone.runBehind({ ...rows, past, owners: owners && index })
          : await backbone.run({
              ...rows,
              past: past.map((one) => one.indexSelect(0, index)),
            })
        await hidden.mul(weight).sum().backward()
        const own = present.map((one) => (isShared ? one : one.slice(2, P)).detach())
        found.push([hidden, ...own, await x.grad(), await prefixes.grad()] as Tensor[])
      }
      const [shared, apart] = found as [Tensor[], Tensor[]]
      for (const [i, expected] of apart.entries()) {
        expect(shared[i]?.shape).toEqual(expected.shape)
        expect(expected.abs().amax().item()).toBeGreaterThan(0.1)
        expect(distance(shared[i] as Tensor, expected)).toBeLessThan(1e-11)
      }
    },
  )

  test('are refused where they do not fit', async () => {
    const float64 = (shape: number[]) => zeroTensor(shape, { dtype: 'float64' })
    const past = Array.from({ length: 2 * L }, () => float64([3, 4, P, H / 4]))
    const right = {
      ...{ past, x: float64([3, 2, H]), positions: int64(counted(3, 2, P)) },
    }
    const refused = (wrong: object) =>
      expect(backbone.runBehind({ ...right, ...wrong })).rejects
    await refused({ past: past.slice(1) }).toThrow(/past to hold/)
    await refused({ past: past.map((one) => one.slice(0, 0, 2)) }).toThrow(
      /2 pasts.* 3 rows/,
    )
    await refused({ past: [...past.slice(1), float64([1, 4, P, H / 4])] }).toThrow(
      /past\[\d+\] of shape/,
    )
    for (const wrong of [-1, 3]) {
      await refused({ owners: tensor([0, 1, wrong], { dtype: 'int64' }) }).toThrow(
        /owners in 0\.\.2/,
      )
    }
    await refused({ owners: int64([[0]]) }).toThrow(/owners of shape/)
    await refused({ mask: zeroTensor([3, 2], { dtype: 'bool' }) }).toThrow(/mask of/)
  })
})

describe('queries', () => {
  const wanted = int64([
    [0, 0],
    [3, 2],
    [8, 1],
    [16, 4],
  ])
  const asked = (hidden: Tensor) => {
    const H = backbone.config.hiddenSize
    return hidden.gather(1, wanted.unsqueeze(2).expand([4, 2, H]))
  }

  test.each([true, false])(
    'equal the full output at their positions (mask: %s)',
    async (masked) => {
      const { ids, positions, mask } = padded('right')
      const options = {
        x: await backbone.embed(ids),
        positions,
        mask: masked ? mask : undefined,
      }
      const some = await backbone.run({ ...options, queries: wanted })
      const all = await backbone.run(options)
      expect(some.hidden.shape).toEqual([4, 2, backbone.config.hiddenSize])
      expect(distance(some.hidden, asked(all.hidden))).toBeLessThan(CLOSE)
      for (const [i, kept] of some.present.entries()) {
        expect(distance(kept, all.present[i] as Tensor)).toBeLessThan(CLOSE)
      }
    },
  )

  test('equal the full output after a past', async () => {
    const { ids } = padded('right')
    const prefix = await backbone.run({
      x: await backbone.embed(int64([[5, 6, 7]])),
      positions: int64(counted(1, 3)),
    })
    const options = {
      x: await backbone.embed(ids),
      positions: int64(counted(4, S, 3)),
      past: prefix.present,
    }
    const some = await backbone.run({ ...options, queries: wanted })
    const all = await backbone.run(options)
    expect(distance(some.hidden, asked(all.hidden))).toBeLessThan(CLOSE)
  })

  test('give the gradient of the full output at their positions', async () => {
    const { ids, positions } = padded('right')
    const embedded = await backbone.embed(ids)
    const gradientBy = async (run: (x: Tensor) => Promise<Tensor>) => {
      const x = await embedded.clone().requiresGrad_()
      await (await run(x)).square().sum().backward()
      return (await x.grad()) as Tensor
    }
    const some = await gradientBy(
      async (x) => (await backbone.run({ x, positions, queries: wanted })).hidden,
    )
    const all = await gradientBy(async (x) =>
      asked((await backbone.run({ x, positions })).hidden),
    )
    expect(all.abs().amax().item()).toBeGreaterThan(0.1)
    expect(distance(some, all)).toBeLessThan(1e-10)
  })
})

describe('layers', () => {
  test('ranges one after another equal the whole', async () => {
    const { ids, positions, mask } = padded('left')
    const x = await backbone.embed(ids)
    const whole = await backbone.run({ x, positions, mask })
    for (const cut of [1, 2]) {
      const lower = await backbone.run({ x, positions, mask, last: cut })
      const upper = await backbone.run({ x: lower.hidden, positions, mask, first: cut })
      expect(upper.hidden.equal(whole.hidden)).toBe(true)
      const present = [...lower.present, ...upper.present]
      expect(present.length).toBe(2 * L)
      for (const [i, kept] of present.entries()) {
        expect(kept.equal(whole.present[i] as Tensor)).toBe(true)
      }
    }
  })

  test('a range takes the past of its own layers', async () => {
    const ids = texts[2] as number[]
    const before = await backbone.run({
      x: await backbone.embed(int64([ids.slice(0, 4)])),
      positions: int64(counted(1, 4)),
    })
    const x = await backbone.embed(int64([ids.slice(4)]))
    const positions = int64(counted(1, ids.length - 4, 4))
    const whole = await backbone.run({ x, positions, past: before.present })
    const lower = await backbone.run({
      x,
      positions,
      past: before.present.slice(0, 2),
      last: 1,
    })
    const upper = await backbone.run({
      x: lower.hidden,
      positions,
      past: before.present.slice(2),
      first: 1,
    })
    expect(upper.hidden.equal(whole.hidden)).toBe(true)
  })
})
