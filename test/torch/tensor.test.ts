// Making tensors and reading them back. Needs no golden values: what goes in comes out.

import { describe, expect, expectTypeOf, test } from 'vitest'
import { LoptError } from '../../lib/errors.js'
import {
  arange,
  availableDevices,
  DTYPES,
  type DType,
  eye,
  full,
  Generator,
  linspace,
  manualSeed,
  multinomial,
  ones,
  rand,
  randint,
  randn,
  randperm,
  Tensor,
  tensor,
  zeros,
} from '../../lib/torch/index.js'

describe('tensor()', () => {
  test('takes its shape from nested arrays', () => {
    const t = tensor([
      [
        [1, 2],
        [3, 4],
      ],
    ])
    expect(t.shape).toEqual([1, 2, 2])
    expect(t.dtype).toBe('float32')
    expect(t.device).toBe('cpu')
    expect(t.toArray()).toEqual([
      [
        [1, 2],
        [3, 4],
      ],
    ])
  })

  test('makes a single number from a number', () => {
    const t = tensor(2.5)
    expect(t.shape).toEqual([])
    expect(t.ndim).toBe(0)
    expect(t.numel).toBe(1)
    expect(t.item()).toBe(2.5)
    expect(t.toArray()).toBe(2.5)
  })

  test('keeps empty dimensions', () => {
    expect(tensor([]).shape).toEqual([0])
    expect(tensor([[], []]).shape).toEqual([2, 0])
    expect(tensor([[], []]).toArray()).toEqual([[], []])
    expect(zeros([0, 3]).data()).toEqual(new Float32Array(0))
  })

  test('keeps the dtype of every typed array, element for element', () => {
    const arrays = {
      float64: new Float64Array([0.1, -2]),
      float32: new Float32Array([0.1, -2]),
      int64: new BigInt64Array([2n ** 62n, -1n]),
      int32: new Int32Array([2 ** 31 - 1, -1]),
      int16: new Int16Array([2 ** 15 - 1, -1]),
      int8: new Int8Array([127, -128]),
      uint64: new BigUint64Array([2n ** 63n, 1n]),
      uint32: new Uint32Array([2 ** 32 - 1, 1]),
      uint16: new Uint16Array([2 ** 16 - 1, 1]),
      uint8: new Uint8Array([255, 1]),
    }
    for (const [dtype, array] of Object.entries(arrays)) {
      const t = tensor(array)
      expect(t.dtype).toBe(dtype)
      expect(t.data()).toEqual(array)
    }
  })

  test('copies its data: a later change of the array does not show', () => {
    const array = new Float32Array([1, 2])
    const t = tensor(array)
    array[0] = 9
    expect(t.toArray()).toEqual([1, 2])
    const read = t.data()
    read[0] = 9
    expect(t.toArray()).toEqual([1, 2])
  })

  test('reads a part of a larger buffer', () => {
    const whole = new Float32Array([0, 1, 2, 3, 4, 5])
    expect(tensor(whole.subarray(2, 5)).toArray()).toEqual([2, 3, 4])
  })

  test('reads an array on shared memory', () => {
    const shared = new Float32Array(new SharedArrayBuffer(16), 4, 2)
    shared.set([3, 4])
    expect(tensor(shared).toArray()).toEqual([3, 4])
  })

  test('gives typed arrays a shape', () => {
    const t = tensor(new Float32Array(6), { shape: [2, 3] })
    expect(t.shape).toEqual([2, 3])
    expect(() => tensor(new Float32Array(6), { shape: [4, 2] })).toThrow(
      new RangeError('The shape [4, 2] does not fit 6 elements'),
    )
    expect(() => tensor(new Float32Array(6), { shape: [-2, -3] })).toThrow(RangeError)
  })

  test.each([
    ['float16', [1, 0.5, 65504], [1, 0.5, 65504]],
    ['bfloat16', [1, 0.5, 1.001], [1, 0.5, 1]],
    ['float8_e4m3fn', [1, 0.5, 448], [1, 0.5, 448]],
    ['float8_e5m2', [1, 0.5, 57344], [1, 0.5, 57344]],
    ['int64', [1, -2, 2 ** 53 - 1], [1, -2, 2 ** 53 - 1]],
    ['uint64', [1, 2, 2 ** 53 - 1], [1, 2, 2 ** 53 - 1]],
    ['int8', [1, -128, 127], [1, -128, 127]],
    ['bool', [1, 0, 1], [1, 0, 1]],
  ] as [DType, number[], number[]][])('holds numbers as %s', (dtype, given, held) => {
    const t = tensor(given, { dtype })
    expect(t.dtype).toBe(dtype)
    expect(t.toArray()).toEqual(held)
  })

  test('holds NaN and infinities as floats', () => {
    expect(tensor([Number.NaN, Infinity, -Infinity]).toArray()).toEqual([
      Number.NaN,
      Infinity,
      -Infinity,
    ])
  })

  test('refuses ragged nesting and says where', () => {
    expect(() => tensor([[1, 2], [3]])).toThrow(RangeError)
    expect(() => tensor([[1, 2], [3]])).toThrow('expected 2 elements at data[1]')
    expect(() => tensor([[1], 2])).toThrow(
      'expected 1 elements at data[1] but received a number',
    )
    expect(() => tensor([1, [2]])).toThrow('expected a number at data[1]')
    const endless: unknown[] = []
    endless.push(endless)
    expect(() => tensor(endless as never)).toThrow(RangeError)
  })

  test('refuses what is no number', () => {
    for (const wrong of [['1'], [null], [undefined], [true], [1n], [{}], [[1], ['x']]]) {
      expect(() => tensor(wrong as never)).toThrow(TypeError)
    }
    for (const wrong of ['1', null, undefined, {}, new DataView(new ArrayBuffer(8))]) {
      expect(() => tensor(wrong as never)).toThrow(TypeError)
    }
  })

  test('refuses numbers that an integer dtype cannot hold', () => {
    const refused: [DType, number][] = [
      ['int64', Number.NaN],
      ['int64', 1.5],
      ['int64', 2 ** 53],
      ['int64', Infinity],
      ['int32', 2 ** 31],
      ['int8', 128],
      ['uint8', -1],
      ['uint64', -1],
      ['bool', 2],
      ['bool', Number.NaN],
    ]
    for (const [dtype, value] of refused) {
      expect(() => tensor([0, value], { dtype })).toThrow(RangeError)
      expect(() => tensor(new Float64Array([0, value]), { dtype })).toThrow(
        `received ${value} at position 1`,
      )
    }
    expect(() => tensor(new BigInt64Array([2n ** 40n]), { dtype: 'int32' })).toThrow(
      RangeError,
    )
    expect(tensor(new BigInt64Array([-5n]), { dtype: 'int32' }).toArray()).toEqual([-5])
  })

  test('refuses an unknown dtype and an unknown device', () => {
    expect(() => tensor([1], { dtype: 'float' as DType })).toThrow(TypeError)
    expect(() => tensor([1], { dtype: 'float' as DType })).toThrow('float64, float32')
    expect(() => tensor([1], { device: 'gpu' })).toThrow(RangeError)
  })

  test('is typed by its dtype', () => {
    expectTypeOf(tensor([1])).toEqualTypeOf<Tensor<'float32'>>()
    expectTypeOf(tensor([1], { dtype: 'int64' })).toEqualTypeOf<Tensor<'int64'>>()
    expectTypeOf(tensor(new BigInt64Array(1))).toEqualTypeOf<Tensor<'int64'>>()
    expectTypeOf(tensor([1]).eq(1)).toEqualTypeOf<Tensor<'bool'>>()
    expectTypeOf(tensor([1]).argmax()).toEqualTypeOf<Tensor<'int64'>>()
    expectTypeOf(tensor([1]).to('float64')).toEqualTypeOf<Tensor<'float64'>>()
    expectTypeOf(tensor([1]).to('cpu')).toEqualTypeOf<Tensor<'float32'>>()
    expectTypeOf(tensor([1]).mul(tensor([1]).eq(1))).toEqualTypeOf<Tensor<'float32'>>()
    expectTypeOf(tensor([1]).eq(1).sum()).toEqualTypeOf<Tensor<'int64'>>()
    expectTypeOf(zeros([1], { dtype: 'int32' }).div(2)).toEqualTypeOf<Tensor<'float32'>>()
    expectTypeOf(tensor([1]).data()).toEqualTypeOf<Float32Array>()
    expectTypeOf<Tensor<'float32'>>().toExtend<Tensor>()
    expectTypeOf<Tensor>().not.toExtend<Tensor<'float32'>>()
  })
})

describe('creation', () => {
  test('fills in every dtype', () => {
    for (const dtype of DTYPES) {
      expect(zeros([2], { dtype }).toArray()).toEqual([0, 0])
      expect(ones([2], { dtype }).dtype).toBe(dtype)
      expect(ones([2], { dtype }).toArray()).toEqual([1, 1])
    }
    expect(full([2], 0.5).toArray()).toEqual([0.5, 0.5])
  })

  test('counts as PyTorch does', () => {
    expect(arange(0, 3).dtype).toBe('int64')
    expect(arange(0, 3).toArray()).toEqual([0, 1, 2])
    expect(arange(3, 0, { step: -2 }).toArray()).toEqual([3, 1])
    expect(arange(0, 1, { step: 0.25 }).dtype).toBe('float32')
    expect(arange(0, 1, { step: 0.25 }).toArray()).toEqual([0, 0.25, 0.5, 0.75])
    expect(linspace(0, 1, 5).toArray()).toEqual([0, 0.25, 0.5, 0.75, 1])
    expect(eye(2).toArray()).toEqual([
      [1, 0],
      [0, 1],
    ])
  })

  test('makes shapes without elements on the meta device', () => {
    const t = zeros([1000, 1000, 1000], { device: 'meta' })
    expect(t.device).toBe('meta')
    expect(t.matmul(t).shape).toEqual([1000, 1000, 1000])
    expect(() => t.data()).toThrow(RangeError)
  })

  test('refuses sizes that are negative, fractional or too many', () => {
    expect(() => zeros([-1])).toThrow(RangeError)
    expect(() => zeros([1.5])).toThrow(
      new TypeError('Expected shape[0] to be an integer but received 1.5'),
    )
    expect(() => zeros(3 as never)).toThrow(TypeError)
    expect(() => zeros([2 ** 50, 2 ** 50])).toThrow(RangeError)
    expect(() => zeros([2 ** 50])).toThrow(LoptError)
    expect(() => zeros([2 ** 50])).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }),
    )
    expect(() => arange(0, 1, { step: 0 })).toThrow(RangeError)
    expect(() => arange(0, Number.NaN)).toThrow(RangeError)
    expect(() => arange(0, 10, { step: -1 })).toThrow(RangeError)
  })
})

describe('random draws', () => {
  test('are the same for the same seed and differ for another', () => {
    const draw = (seed: number) =>
      randn([50], { generator: new Generator({ seed }) }).data()
    expect(draw(7)).toEqual(draw(7))
    expect(draw(7)).not.toEqual(draw(8))
  })

  test('come from the process itself where no generator is given, again after manualSeed', () => {
    const draw = () => [
      randn([3]).toArray(),
      rand([3]).toArray(),
      randint(0, 100, [3]).toArray(),
      randperm(9).toArray(),
      multinomial(ones([9]), 3).toArray(),
    ]
    manualSeed(7)
    const first = draw()
    expect(draw()).not.toEqual(first)
    manualSeed(7)
    expect(draw()).toEqual(first)
    const generator = new Generator({ seed: 7 })
    expect(randn([3], { generator }).toArray()).toEqual(first[0])
    expect(() => manualSeed(-1)).toThrow('Expected seed to be 0 or more but received -1')
  })

  test('have the seed of torch.Generator() where a generator is given none', () => {
    const torchs = new Generator({ seed: 67280421310721 })
    expect(new Generator().state()).toEqual(torchs.state())
  })

  test('continue from a saved state', () => {
    const generator = new Generator({ seed: 1 })
    rand([3], { generator })
    const state = generator.state()
    const next = rand([5], { generator }).data()
    const other = new Generator({ seed: 2 })
    other.setState(state)
    expect(rand([5], { generator: other }).data()).toEqual(next)
  })

  test('lie where they should', () => {
    const generator = new Generator({ seed: 3 })
    const uniform = [...rand([1000], { generator }).data()]
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...uniform)).toBeLessThan(1)
    const whole = randint(-2, 3, [1000], { generator })
    expect(whole.dtype).toBe('int64')
    expect(new Set(whole.toArray() as number[])).toEqual(new Set([-2, -1, 0, 1, 2]))
    expect((randperm(5, { generator }).toArray() as number[]).sort()).toEqual([
      0, 1, 2, 3, 4,
    ])
    const normal = randn([20000], { generator, dtype: 'float64' })
    expect(normal.mean().item()).toBeCloseTo(0, 1)
    expect(normal.std().item()).toBeCloseTo(1, 1)
  })

  test('follow their probabilities', () => {
    const generator = new Generator({ seed: 4 })
    const draws = multinomial(tensor([0, 1, 3]), 4000, { generator, replacement: true })
    const counts = [0, 1, 2].map((k) => draws.eq(k).sum().item())
    expect(counts[0]).toBe(0)
    expect((counts[2] as number) / (counts[1] as number)).toBeCloseTo(3, 0)
    expect(multinomial(tensor([[1, 0]]), 1, { generator }).toArray()).toEqual([[0]])
    expect(() => multinomial(tensor([1, 1]), 3, { generator })).toThrow(RangeError)
    expect(() => multinomial(tensor([-1, Number.NaN]), 1, { generator })).toThrow(
      RangeError,
    )
  })

  test('refuse seeds and states that are none', () => {
    expect(() => new Generator({ seed: 0.5 })).toThrow(TypeError)
    expect(() => new Generator({ seed: -1 })).toThrow(RangeError)
    const generator = new Generator({ seed: 0 })
    expect(() => generator.setState(new Uint8Array(3))).toThrow(RangeError)
    // two counters that are in range one by one, and lead past the end together
    const crafted = generator.state()
    new DataView(crafted.buffer).setInt32(8, 624, true)
    new DataView(crafted.buffer).setBigUint64(16, 624n, true)
    expect(() => generator.setState(crafted)).toThrow(/no state of a generator/)
    expect(() => generator.setState('x' as never)).toThrow(TypeError)
    expect(() => randn([1], { generator: {} as Generator })).toThrow(
      new TypeError('Expected a Generator for generator but received Object'),
    )
    expect(() => randint(2, 2, [1], { generator })).toThrow(RangeError)
  })
})

describe('reading', () => {
  test('is in row-major order whatever the strides', async () => {
    const t = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]).transpose(0, 1)
    expect(t.isContiguous).toBe(false)
    expect([...t.data()]).toEqual([1, 4, 2, 5, 3, 6])
    expect([...(await t.read())]).toEqual([1, 4, 2, 5, 3, 6])
  })

  test('gives one element by item() and refuses more', () => {
    expect(tensor([[3]]).item()).toBe(3)
    expect(() => tensor([1, 2]).item()).toThrow(
      new RangeError('item: expected one element but the shape is [2]'),
    )
    expect(() => zeros([0]).item()).toThrow(RangeError)
  })

  test('refuses integers that a number cannot hold', () => {
    const t = tensor(new BigInt64Array([2n ** 53n]))
    expect(() => t.item()).toThrow(RangeError)
    expect(() => t.toArray()).toThrow(RangeError)
    expect(t.data()[0]).toBe(2n ** 53n)
  })

  test('describes itself', () => {
    expect(String(zeros([2, 3]))).toBe('Tensor(float32 [2, 3] cpu)')
    const t = zeros([1])
    t.dispose()
    expect(String(t)).toBe('Tensor(disposed)')
  })
})

describe('to()', () => {
  test('converts between dtypes', () => {
    expect(tensor([1.9, -1.9]).to('int64').toArray()).toEqual([1, -1])
    expect(tensor([0, 2]).to('bool').toArray()).toEqual([0, 1])
    expect(tensor([1]).to({ dtype: 'bfloat16', device: 'cpu' }).dtype).toBe('bfloat16')
    expect(tensor([1]).to({ device: 'meta' }).device).toBe('meta')
    expect(tensor([1]).to({}).dtype).toBe('float32')
  })

  test('refuses what is neither a dtype nor a device', () => {
    expect(() => tensor([1]).to('float')).toThrow(RangeError)
    expect(() => tensor([1]).to({ dtype: 'x' as DType })).toThrow(TypeError)
  })
})

describe('pinned memory', () => {
  test('is refused where the CPU is the only device', () => {
    expect(tensor([1]).isPinned).toBe(false)
    if (availableDevices().length > 1) return
    expect(() => tensor([1]).pinMemory()).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE' }),
    )
  })
})

describe('a foreign object', () => {
  test('as `this` is a TypeError', () => {
    const foreign = {} as Tensor
    expect(() => Tensor.prototype.add.call(foreign, 1)).toThrow(TypeError)
    expect(() => Tensor.prototype.data.call(foreign)).toThrow(TypeError)
    expect(() => Tensor.prototype.dispose.call(foreign)).toThrow(TypeError)
    expect(() => Reflect.get(Tensor.prototype, 'shape', foreign)).toThrow(TypeError)
    expect(() => Object.create(tensor([1])).shape).toThrow(TypeError)
  })

  test('as an argument is a TypeError that names the argument', () => {
    const t = tensor([1])
    expect(() => t.add('1' as never)).toThrow(
      new TypeError('Expected a Tensor for other but received string'),
    )
    expect(() => t.matmul(null as never)).toThrow(
      'Expected a Tensor for other but received null',
    )
    expect(() => t.mul([1] as never)).toThrow('received Array')
    expect(() => t.eq({ shape: [1] } as never)).toThrow('received Object')
    expect(() => t.add(1n as never)).toThrow('received bigint')
    expect(() => t.add(undefined as never)).toThrow('received undefined')
  })

  test('as a handle is a TypeError', () => {
    const made = new (Tensor as unknown as new (handle: unknown) => Tensor)({})
    expect(() => made.shape).toThrow(TypeError)
    expect(() => made.add(1)).toThrow(TypeError)
  })
})

describe('a disposed tensor', () => {
  test('throws ERR_DISPOSED on every use but dispose', async () => {
    const t = tensor([1])
    t.dispose()
    t.dispose()
    expect(t.isDisposed).toBe(true)
    const disposed = expect.objectContaining({ code: 'ERR_DISPOSED' })
    expect(() => t.shape).toThrow(disposed)
    expect(() => t.dtype).toThrow(disposed)
    expect(() => t.add(1)).toThrow(disposed)
    expect(() => tensor([1]).add(t)).toThrow(disposed)
    expect(() => t.data()).toThrow(disposed)
    await expect(t.read()).rejects.toThrow(disposed)
    await expect(t.backward()).rejects.toThrow(disposed)
    await expect(t.fill_(1)).rejects.toThrow(disposed)
    await expect(t.grad()).rejects.toThrow(disposed)
  })

  test('leaves tensors that share its elements as they are', () => {
    const t = tensor([1, 2, 3])
    const view = t.slice(0, 1)
    t.dispose()
    expect(view.toArray()).toEqual([2, 3])
  })

  test('does not disturb a job that was asked for before', async () => {
    const t = tensor([1, 2, 3])
    const reading = t.read()
    t.dispose()
    expect([...(await reading)]).toEqual([1, 2, 3])
  })

  test('is what `using` leaves behind', () => {
    let outer: Tensor
    {
      using t = tensor([1])
      outer = t
      expect(t.isDisposed).toBe(false)
    }
    expect(outer.isDisposed).toBe(true)
  })
})
