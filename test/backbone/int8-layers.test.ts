// What a model with weights of 8 bits computes on the way between its products, each held to a plain computation of
// libtorch's.

import { describe, expect, test } from 'vitest'
import { binding } from '../../lib/torch/context.js'
import {
  cat,
  Generator,
  getNumThreads,
  randn,
  ScriptModule,
  type ScriptValue,
  setNumThreads,
  type Tensor,
  tensor,
} from '../../lib/torch/index.js'
import { handleOf, wrap } from '../../lib/torch/tensor.js'
import { distance } from './golden.js'

const generator = new Generator({ seed: 0 })
const random = (shape: number[]) => randn(shape, { generator })

function quantizeRows(rows: Tensor): [Tensor, Tensor] {
  return binding().ops.quantizeRows(handleOf(rows)).map(wrap) as [Tensor, Tensor]
}

const SOURCE = `
def linear(self, x: Tensor, weight: Tensor, scale: Tensor, bias: Optional[Tensor], residual: Optional[Tensor]) -> Tensor:
    return lopt.int8_linear(x, weight, scale, bias, residual)

def rounded(self, x: Tensor) -> Tensor:
    # what the integers of a row stand for, in steps of its largest
    step = x.abs().amax([-1], True) / 127.0
    return torch.where(step > 0, torch.round(x / step) * step, torch.zeros_like(x))

def norm(self, x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    if bias is None:
        return torch.rms_norm(x, [x.size(-1)], weight, 1e-5)
    return torch.layer_norm(x, [x.size(-1)], weight, bias, 1e-5)

def normed(self, x: Tensor, weight: Tensor, bias: Optional[Tensor], weights: List[Tensor], scales: List[Tensor], biases: List[Tensor]) -> List[Tensor]:
    return lopt.int8_normed(x, weight, bias, 1e-5, weights, scales, biases)

def plain_product(self, x: Tensor, weight: Tensor, scale: Tensor, bias: Optional[Tensor]) -> Tensor:
    return torch.linear(self.rounded(x), weight.float() * scale.unsqueeze(1), bias)

def plain_normed(self, x: Tensor, weight: Tensor, bias: Optional[Tensor], weights: List[Tensor], scales: List[Tensor], biases: List[Tensor]) -> List[Tensor]:
    found: List[Tensor] = []
    for i in range(len(weights)):
        added: Optional[Tensor] = None
        if len(biases) > 0:
            added = biases[i]
        found.append(self.plain_product(self.norm(x, weight, bias), weights[i], scales[i], added))
    return found

def mlp(self, x: Tensor, weight: Tensor, bias: Optional[Tensor], weights: List[Tensor], scales: List[Tensor], biases: List[Tensor], activation: str, outer: Tensor, scale: Tensor, added: Optional[Tensor]) -> Tensor:
    return lopt.int8_mlp(x, weight, bias, 1e-5, weights, scales, biases, activation, outer, scale, added)

def plain_mlp(self, x: Tensor, weight: Tensor, bias: Optional[Tensor], weights: List[Tensor], scales: List[Tensor], biases: List[Tensor], activation: str, outer: Tensor, scale: Tensor, added: Optional[Tensor]) -> Tensor:
    inner = self.plain_normed(x, weight, bias, weights, scales, biases)
    hidden = inner[0]
    if activation == "gelu_tanh":
        hidden = torch.gelu(hidden, approximate="tanh")
    elif activation == "silu":
        hidden = torch.silu(hidden)
    else:
        hidden = torch.relu(hidden)
    if len(inner) == 2:
        hidden = hidden * inner[1]
    return x + self.plain_product(hidden, outer, scale, added)

def attention(self, query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor], causal: bool) -> Tensor:
    return lopt.attention(query, key, value, bias, causal, 0.3)

def plain_attention(self, query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor], causal: bool) -> Tensor:
    keys = key.expand(query.size(0), -1, -1, -1)
    values = value.expand(query.size(0), -1, -1, -1)
    mixed = torch.scaled_dot_product_attention(query, keys, values, bias, 0.0, causal, scale=0.3)
    return mixed.transpose(1, 2).flatten(2)

def behind(self, query: Tensor, past_key: Tensor, past_value: Tensor, owners: Optional[Tensor], key: Tensor, value: Tensor, bias: Optional[Tensor]) -> Tensor:
    return lopt.attention_behind(query, past_key, past_value, owners, key, value, bias, 0.3)

def slots(self, query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, lengths: Tensor, bias: Tensor) -> Tensor:
    return lopt.attend_slots(query, key, value, keys, values, lengths, bias, 0.3)
`

const module = await ScriptModule.compile({ name: 'Layers', source: SOURCE })
const call = (method: string, ...given: ScriptValue[]) => module.call(method, ...given)
const tensorOf = async (method: string, ...given: ScriptValue[]) =>
  (await call(method, ...given)) as Tensor

interface Weights {
  weights: Tensor[]
  scales: Tensor[]
  biases: Tensor[]
}

function weightsOf(shapes: [number, number][], hasBias: boolean): Weights {
  const quantized = shapes.map((shape) => quantizeRows(random(shape)))
  return {
    weights: quantized.map(([weight]) => weight),
    scales: quantized.map(([, scale]) => scale),
    biases: hasBias ? shapes.map(([N]) => random([N])) : [],
  }
}

/** Rows of few and many positions, and sizes that no vector divides. */
const SIZES = [
  [1, 16, 4],
  [2, 7, 5],
  [3, 33, 48],
  [5, 100, 70],
  [32, 64, 130],
  [33, 64, 31],
  [70, 96, 65],
  [0, 8, 8],
] as const

describe('a product of 8 bits', () => {
  test('is the same of a row alone and among any number of rows, to the bit', async () => {
    const [weight, scale] = quantizeRows(random([70, 100]))
    const bias = random([70])
    const x = random([67, 100])
    const all = await tensorOf('linear', x, weight, scale, bias, null)
    for (const count of [1, 2, 3, 4, 5, 31, 32, 33]) {
      const own = await tensorOf(
        'linear',
        x.slice(0, 0, count),
        weight,
        scale,
        bias,
        null,
      )
      expect(own.toArray()).toEqual(all.slice(0, 0, count).toArray())
    }
  })

  test('adds a residual, and takes rows and weights with gaps between them', async () => {
    const [weight, scale] = quantizeRows(random([9, 40]))
    const x = random([3, 5, 40])
    const residual = random([3, 5, 9])
    const product = await tensorOf('linear', x, weight, scale, null, null)
    const found = await tensorOf('linear', x, weight, scale, null, residual)
    expect(distance(found, product.add(residual))).toBeLessThan(1e-6)
    const gaps = random([3, 5, 80]).slice(2, 0, 40)
    const wide = weight.transpose(0, 1).contiguous().transpose(0, 1)
    const expected = await tensorOf(
      'linear',
      gaps.contiguous(),
      weight,
      scale,
      null,
      null,
    )
    expect((await tensorOf('linear', gaps, wide, scale, null, null)).toArray()).toEqual(
      expected.toArray(),
    )
    await expect(
      call('linear', x, weight, scale, null, random([3, 5, 8])),
    ).rejects.toThrow(/residual/)
  })
})

describe.each([true, false])('behind a norm, a layer norm: %s', (isLayerNorm) => {
  test.each(SIZES)('%i rows of %i numbers give products of %i', async (M, K, N) => {
    const { weights, scales, biases } = weightsOf(
      [
        [N, K],
        [N + 1, K],
      ],
      isLayerNorm,
    )
    const x = random([M, K])
    const norm = [random([K]), isLayerNorm ? random([K]) : null]
    const given = [x, ...norm, weights, scales, biases]
    const found = (await call('normed', ...given)) as Tensor[]
    expect(found.map(({ shape }) => shape)).toEqual([
      [M, N],
      [M, N + 1],
    ])
    if (M === 0) return
    const plain = (await call('plain_normed', ...given)) as Tensor[]
    // A rounding that differs may be a step of 8 bits.
    for (const [i, one] of found.entries())
      expect(distance(one, plain[i] as Tensor)).toBeLessThan(0.02 * K ** 0.5)
  })
})

describe.each([
  ['gelu_tanh', 1],
  ['relu', 1],
  ['silu', 1],
  ['gelu_tanh', 2],
  ['silu', 2],
] as const)('an MLP of %s, with %i inner weights', (activation, inner) => {
  const mlpOf = (K: number, F: number) => {
    const { weights, scales, biases } = weightsOf(Array(inner).fill([F, K]), inner === 1)
    const outer = weightsOf([[K, F]], inner === 1)
    return [
      ...[weights, scales, biases, activation, outer.weights[0], outer.scales[0]],
      outer.biases[0] ?? null,
    ] as ScriptValue[]
  }

  test.each(SIZES)('is that of %i rows of %i numbers, %i inside', async (M, K, F) => {
    const norm = [random([K]), inner === 1 ? random([K]) : null]
    const x = random([M, K])
    const given = [x, ...norm, ...mlpOf(K, F)] as ScriptValue[]
    const found = await tensorOf('mlp', ...given)
    expect(found.shape).toEqual([M, K])
    if (M === 0) return
    const plain = await tensorOf('plain_mlp', ...given)
    const size = Math.max(...(plain.abs().reshape([-1]).toArray() as number[]))
    expect(distance(found, plain)).toBeLessThan(0.05 * size)
  })

  test('keeps a row that is not finite to itself', async () => {
    const norm = [random([33]), random([33])]
    const weights = mlpOf(33, 50)
    const x = random([40, 33])
    const rowsOf = async (x: Tensor) =>
      (await tensorOf('mlp', x, ...norm, ...weights)).toArray() as number[][]
    const clean = await rowsOf(x)
    for (const value of [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]) {
      const row = tensor([[value, ...Array(32).fill(1)]])
      const broken = cat([x.slice(0, 0, 7), row, x.slice(0, 8, 40)], 0)
      const found = await rowsOf(broken)
      expect(found[7]?.every(Number.isNaN)).toBe(true)
      expect([...found.slice(0, 7), ...found.slice(8)]).toEqual([
        ...clean.slice(0, 7),
        ...clean.slice(8),
      ])
    }
  })
})

/** -inf where it is 0. */
const hidden = (mask: number[][][][]) =>
  tensor(
    mask.map((a) =>
      a.map((b) => b.map((c) => c.map((one) => (one ? 0 : Number.NEGATIVE_INFINITY)))),
    ),
  )

describe('attention', () => {
  test.each([
    [2, 3, 1, 1, 16],
    [2, 3, 1, 37, 64],
    [3, 2, 3, 20, 32],
    [2, 2, 4, 16, 16],
    [2, 3, 40, 60, 64],
    [1, 2, 61, 61, 80],
    [2, 1, 9, 130, 48],
    [2, 2, 5, 9, 12], // a head that no vector divides: libtorch's own
  ])('%i rows, %i heads, %i queries, %i keys of %i', async (B, heads, Q, S, D) => {
    const query = random([B, Q, heads, D]).transpose(1, 2)
    const key = random([B, heads, S, D])
    const value = random([B, S, heads, D]).transpose(1, 2)
    const relative = random([1, heads, Q, S])
    const mask = hidden(
      Array.from({ length: B }, (_, b) => [
        [Array.from({ length: S }, (_, s) => (s < S - 2 * b || s === 0 ? 1 : 0))],
      ]),
    )
    for (const bias of [null, relative, mask, relative.add(mask)]) {
      const found = await tensorOf('attention', query, key, value, bias, false)
      expect(found.shape).toEqual([B, Q, heads * D])
      const plain = await tensorOf('plain_attention', query, key, value, bias, false)
      expect(distance(found, plain)).toBeLessThan(1e-5)
    }
    const [own, ownValue] = [key.slice(0, 0, 1), value.slice(0, 0, 1)]
    expect(
      distance(
        await tensorOf('attention', query, own, ownValue, null, false),
        await tensorOf('plain_attention', query, own, ownValue, null, false),
      ),
    ).toBeLessThan(1e-5)
    if (Q !== S) return
    expect(
      distance(
        await tensorOf('attention', query, key, value, null, true),
        await tensorOf('plain_attention', query, key, value, null, true),
      ),
    ).toBeLessThan(1e-5)
  })

  test.each([1, 20])(
    'keeps a row that is not finite to itself: %i queries',
    async (Q) => {
      const [query, key, value] = [1, 2, 3].map(() => random([3, 2, 20, 16])) as [
        Tensor,
        Tensor,
        Tensor,
      ]
      const asked = query.slice(2, 0, Q)
      const given = await tensorOf('attention', asked, key, value, null, false)
      const clean = given.toArray() as number[][][]
      for (const value_ of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const broken = cat(
          [key.slice(0, 0, 1), key.slice(0, 1, 2).mul(value_), key.slice(0, 2, 3)],
          0,
        )
        const found = await tensorOf('attention', asked, broken, value, null, false)
        const rows = found.toArray() as number[][][]
        expect(rows[1]?.flat().every(Number.isNaN)).toBe(true)
        expect([rows[0], rows[2]]).toEqual([clean[0], clean[2]])
      }
    },
  )

  test('refuses what does not align', async () => {
    const query = random([2, 2, 3, 16])
    await expect(
      call('attention', query, random([2, 2, 3, 32]), random([2, 2, 3, 32]), null, false),
    ).rejects.toThrow(/do not align/)
    const key = random([2, 2, 5, 16])
    await expect(
      call('attention', query, key, key, random([2, 2, 3, 4]), false),
    ).rejects.toThrow(/bias/)
  })
})

describe('attention behind shared keys and values', () => {
  test.each([
    ['as many rows behind each', undefined, [0, 0, 1, 1], 5, 64],
    ['rows as they come', [1, 0, 1, 1], [1, 0, 1, 1], 5, 64],
    ['one query', [1, 0, 0, 1], [1, 0, 0, 1], 1, 16],
    ['heads that no vector divides', [1, 0, 0, 1], [1, 0, 0, 1], 3, 12],
  ])('is that to both joined: %s', async (_, owners, owner, Q, D) => {
    const [B, heads, P, S] = [4, 3, 7, 9]
    const shared = () => random([2, P, heads, D]).transpose(1, 2)
    const [pastKey, pastValue] = [shared(), shared()]
    const [key, value] = [random([B, heads, S, D]), random([B, heads, S, D])]
    const query = random([B, Q, heads, D]).transpose(1, 2)
    const index = tensor(owner, { dtype: 'int64' })
    const joined = (past: Tensor, own: Tensor) =>
      cat([past.indexSelect(0, index), own], 2)
    const mask = hidden(
      owner.map((prompt) => [
        Array.from({ length: Q }, (_, q) =>
          Array.from({ length: P + S }, (_, s) =>
            s < P ? Number(s < P - 2 * prompt) : Number(s - P <= q + 2),
          ),
        ),
      ]),
    )
    for (const bias of [null, mask]) {
      const found = await tensorOf(
        'behind',
        ...[query, pastKey, pastValue, owners ? index : null, key, value, bias],
      )
      const plain = await tensorOf(
        'plain_attention',
        ...[query, joined(pastKey, key), joined(pastValue, value), bias, false],
      )
      expect(found.shape).toEqual([B, Q, heads * D])
      expect(distance(found, plain)).toBeLessThan(1e-5)
    }
  })

  test('refuses what does not align, and an owner that is not there', async () => {
    const [own, past] = [random([4, 2, 5, 16]), random([3, 2, 5, 16])]
    const refused = (owners: Tensor | null, bias: Tensor | null = null) =>
      expect(call('behind', own, past, past, owners, own, own, bias)).rejects
    await refused(null).toThrow(/do not align/)
    for (const wrong of [-1, 3]) {
      await refused(tensor([0, 1, wrong, 2], { dtype: 'int64' })).toThrow(/owner/)
    }
    await refused(tensor([0, 1], { dtype: 'int64' })).toThrow(/of 4 rows/)
    const right = tensor([0, 1, 2, 2], { dtype: 'int64' })
    await refused(right, random([4, 1, 5, 5])).toThrow(/bias/)
  })
})

describe('attention to slots', () => {
  test.each([16, 12])('of heads of %i writes, and reads what each row has', async (D) => {
    const [B, heads, capacity, read] = [3, 2, 12, 8]
    const now = () => random([B, 1, heads, D]).transpose(1, 2)
    const [query, key, value] = [now(), now(), now()]
    const caches = () => random([5, heads, capacity, D])
    const [keys, values] = [caches(), caches()]
    const lengths = [0, 7, 3]
    const bias = hidden(
      lengths.map((length) => [
        [Array.from({ length: read }, (_, s) => (s <= length ? 1 : 0))],
      ]),
    )
    const places = tensor(lengths, { dtype: 'int64' })
    const found = await tensorOf(
      'slots',
      ...[query, key, value, keys, values, places, bias],
    )
    for (const [b, length] of lengths.entries()) {
      for (const [cache, newest] of [
        [keys, key],
        [values, value],
      ] as const) {
        const written = cache.select(0, b).slice(1, length, length + 1)
        expect(written.toArray()).toEqual(newest.select(0, b).toArray())
      }
      const seen = (cache: Tensor) => cache.slice(0, b, b + 1).slice(2, 0, length + 1)
      const own = query.slice(0, b, b + 1)
      const plain = await tensorOf(
        'plain_attention',
        ...[own, seen(keys), seen(values), null, false],
      )
      expect(distance(found.slice(0, b, b + 1), plain)).toBeLessThan(1e-5)
    }
    await expect(
      call(
        'slots',
        ...[query, key, value, keys, values],
        tensor([0, 8, 3], { dtype: 'int64' }),
        bias,
      ),
    ).rejects.toThrow(/8 keys/)
  })
})

test('any number of threads gives the same numbers', async () => {
  const { weights, scales, biases } = weightsOf([[300, 64]], true)
  const outer = weightsOf([[64, 300]], true)
  const norm = [random([64]), random([64])]
  const inner = [weights, scales, biases, 'gelu_tanh']
  const rest = [outer.weights[0], outer.scales[0], outer.biases[0]] as Tensor[]
  const heads = [1, 2, 3].map(() => random([9, 4, 33, 32]))
  const rows = [20, 600].map((M) => random([M, 64]))
  const all = async () => {
    const mlp = rows.map((x) => tensorOf('mlp', x, ...norm, ...inner, ...rest))
    const attention = tensorOf('attention', ...heads, null, false)
    return (await Promise.all([...mlp, attention])).map((one) => one.toArray())
  }
  const threads = getNumThreads()
  const found = await all()
  await setNumThreads(1)
  expect(await all()).toEqual(found)
  await setNumThreads(4)
  expect(await all()).toEqual(found)
  await setNumThreads(threads)
})
