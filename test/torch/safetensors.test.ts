// safetensors files: round trips, files of the reference implementation, headers that lie.
// test/fixtures/gpt2-plain/model.safetensors was written by safetensors for Python (make_gpt2.py).

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  DTYPES,
  isFloatingPoint,
  memory,
  openSafetensors,
  type SafetensorsFile,
  type Tensor,
  tensor,
  writeSafetensors,
  zeros,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lopt-safetensors-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const fixture = new URL('../fixtures/gpt2-plain/model.safetensors', import.meta.url)
  .pathname

let count = 0
function craft(header: unknown, data = new Uint8Array(0), length?: bigint): string {
  const json =
    header instanceof Uint8Array
      ? header
      : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const start = Buffer.alloc(8)
  start.writeBigUInt64LE(length ?? BigInt(json.length))
  const path = join(folder, `crafted-${count++}.safetensors`)
  writeFileSync(path, Buffer.concat([start, json, data]))
  return path
}

function refusal(path: string): string {
  let file: SafetensorsFile
  try {
    file = openSafetensors(path)
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    expect(code).toBe('ERR_MODEL_FILE')
    expect(message).toContain(path)
    return message.slice(path.length + 2)
  }
  file.dispose()
  throw new Error(`opened, with the tensors ${file.names.join(', ')}`)
}

const entry = (dtype: string, shape: unknown, offsets: unknown) => ({
  dtype,
  shape,
  data_offsets: offsets,
})

describe('a safetensors file', () => {
  test('comes back bit for bit, in every dtype', async () => {
    const path = join(folder, 'all.safetensors')
    const tensors: Record<string, Tensor> = {}
    for (const dtype of DTYPES) {
      tensors[dtype] = isFloatingPoint(dtype)
        ? tensor([[0.5, -1.5, 2]], { dtype })
        : tensor([[0, 1, 1]], { dtype })
    }
    tensors[''] = tensor(7)
    tensors.empty = zeros([0, 3])
    await writeSafetensors(path, tensors, { metadata: { format: 'pt', note: 'grüße' } })
    const file = openSafetensors(path)
    expect(file.metadata).toEqual({ format: 'pt', note: 'grüße' })
    expect([...file.names].sort()).toEqual(Object.keys(tensors).sort())
    for (const [name, written] of Object.entries(tensors)) {
      const read = file.tensor(name)
      expect(read.dtype).toBe(written.dtype)
      expect(read.shape).toEqual(written.shape)
      expect(read.data()).toEqual(written.data())
      expect(file.info(name).sizeBytes).toBe(file.bytes(name).length)
    }
    file.dispose()
  })

  test('that the reference implementation wrote is written again byte for byte', async () => {
    const file = openSafetensors(fixture)
    const path = join(folder, 'again.safetensors')
    const tensors = Object.fromEntries(
      file.names.map((name) => [name, file.tensor(name)]),
    )
    await writeSafetensors(path, tensors, { metadata: file.metadata })
    expect(readFileSync(path).equals(readFileSync(fixture))).toBe(true)
    file.dispose()
  })

  test('orders tensors by the size of their dtype, then by name', async () => {
    const path = join(folder, 'ordered.safetensors')
    await writeSafetensors(path, {
      10: zeros([1]),
      9: zeros([1]),
      z: zeros([1], { dtype: 'int64' }),
      b: zeros([1], { dtype: 'bool' }),
      h: zeros([1], { dtype: 'float16' }),
    })
    const bytes = readFileSync(path)
    const length = Number(bytes.readBigUInt64LE())
    expect(length % 8).toBe(0)
    const json = bytes.subarray(8, 8 + length).toString()
    expect([...json.matchAll(/"(\w+)":\{/g)].map((match) => match[1])).toEqual([
      'z',
      '10',
      '9',
      'h',
      'b',
    ])
    const file = openSafetensors(path)
    expect(file.info('z').offset % 8).toBe(0)
    expect(file.info('h').offset % 2).toBe(0)
    file.dispose()
  })

  test('is mapped, not copied: its tensors own no memory', async () => {
    const path = join(folder, 'mapped.safetensors')
    await writeSafetensors(path, { w: zeros([1000]) })
    const before = await settledMemory()
    const file = openSafetensors(path)
    const mapped = file.tensor('w')
    expect(memory().bytes).toBe(before.bytes)
    mapped.dispose()
    file.dispose()
    expect(memory()).toEqual(before)
  })

  test('keeps its pages for tensors that outlive it, and is private', async () => {
    const path = join(folder, 'private.safetensors')
    await writeSafetensors(path, { w: tensor([1, 2]) })
    const file = openSafetensors(path)
    const w = file.tensor('w')
    const other = file.tensor('w')
    file.dispose()
    expect(() => file.tensor('w')).toThrow(
      expect.objectContaining({ code: 'ERR_DISPOSED' }),
    )
    await w.fill_(9)
    expect(w.toArray()).toEqual([9, 9])
    expect(other.toArray()).toEqual([9, 9])
    const again = openSafetensors(path)
    expect(again.tensor('w').toArray()).toEqual([1, 2])
    again.dispose()
  })

  test('gives parts of a tensor as bytes', async () => {
    const path = join(folder, 'bytes.safetensors')
    await writeSafetensors(path, { w: tensor(new Uint8Array([1, 2, 3, 4])) })
    const file = openSafetensors(path)
    expect([...file.bytes('w', 1, 3)]).toEqual([2, 3])
    for (const [begin, end] of [
      [0, 5],
      [-1, 2],
      [3, 2],
    ] as const) {
      expect(() => file.bytes('w', begin, end)).toThrow(RangeError)
    }
    expect(() => file.bytes('w', 0.5, 1)).toThrow(TypeError)
    file.dispose()
  })

  test('reads tensors that are not aligned to their dtype', () => {
    const data = new Uint8Array(5)
    new DataView(data.buffer).setFloat32(1, 1.5, true)
    const header = { a: entry('U8', [1], [0, 1]), b: entry('F32', [1], [1, 5]) }
    let json = JSON.stringify(header)
    while (json.length % 8 !== 0) json += ' '
    const file = openSafetensors(craft(json, data))
    expect(file.tensor('b').toArray()).toEqual([1.5])
    file.dispose()
  })

  test('takes names that JavaScript gives a meaning', async () => {
    const path = join(folder, 'names.safetensors')
    const names = ['__proto__', 'constructor', 'hasOwnProperty', 'toString', '0']
    await writeSafetensors(path, new Map(names.map((name, i) => [name, tensor([i])])), {
      metadata: JSON.parse('{"__proto__": "x"}') as Record<string, string>,
    })
    const file = openSafetensors(path)
    expect(Object.getPrototypeOf(file.metadata)).toBe(Object.prototype)
    expect(Object.entries(file.metadata)).toEqual([['__proto__', 'x']])
    for (const [i, name] of names.entries())
      expect(file.tensor(name).toArray()).toEqual([i])
    expect(file.has('valueOf')).toBe(false)
    expect(() => file.tensor('valueOf')).toThrow(
      expect.objectContaining({ code: 'ERR_MODEL_FILE' }),
    )
    file.dispose()
  })

  test('that is missing is ERR_IO with its path', () => {
    const path = join(folder, 'missing.safetensors')
    expect(() => openSafetensors(path)).toThrow(
      expect.objectContaining({ code: 'ERR_IO', message: expect.stringContaining(path) }),
    )
    expect(() => openSafetensors(folder)).toThrow(
      expect.objectContaining({ code: 'ERR_IO' }),
    )
  })
})

describe('a header that lies is refused:', () => {
  test('a file too short for a length', () => {
    for (const size of [0, 1, 7]) {
      const path = join(folder, `short-${size}`)
      writeFileSync(path, new Uint8Array(size))
      expect(refusal(path)).toContain('too short')
    }
  })

  test('a length of 2 GB, and one beyond the file', () => {
    expect(refusal(craft('{}', undefined, 2n ** 31n))).toContain('above 100000000')
    expect(refusal(craft('{}', undefined, 2n ** 64n - 1n))).toContain('above 100000000')
    expect(refusal(craft('{}', undefined, 1000n))).toContain('beyond the file')
  })

  test('text that is no JSON object', () => {
    expect(refusal(craft(new Uint8Array([0x7b, 0xff, 0x7d])))).toContain('not UTF-8')
    for (const text of ['', '{', '{"a":}', '\ufeff{}']) {
      expect(refusal(craft(text))).toContain('not JSON')
    }
    for (const text of ['[]', '1', 'null', '"x"']) {
      expect(refusal(craft(text))).toContain('not a JSON object')
    }
    expect(refusal(craft('['.repeat(1_000_000)))).toContain('not JSON')
    expect(
      refusal(craft(`{"a":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`)),
    ).toContain('tensor a')
  })

  test('a name that is there twice', () => {
    const text =
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},' +
      '"\\u0061":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}'
    expect(refusal(craft(text, new Uint8Array(1)))).toBe('tensor a: it is there twice')
    const tricky = '{"a\\"}:{":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    openSafetensors(craft(tricky, new Uint8Array(1))).dispose()
  })

  test('metadata that is not strings', () => {
    expect(refusal(craft({ __metadata__: { a: 1 } }))).toContain('a is not a string')
    expect(refusal(craft({ __metadata__: [] }))).toContain('not an object')
    expect(refusal(craft({ __metadata__: null }))).toContain('not an object')
  })

  test('an entry that is none', () => {
    for (const wrong of [1, null, [], 'x']) {
      expect(refusal(craft({ w: wrong }))).toBe('tensor w: its entry is not an object')
    }
  })

  test('an unknown dtype', () => {
    for (const dtype of ['F7', 'f32', '', undefined, null, 4, '__proto__']) {
      expect(refusal(craft({ w: entry(dtype as string, [1], [0, 4]) }))).toContain(
        'tensor w: unknown dtype',
      )
    }
  })

  test('a shape that is none', () => {
    for (const shape of [[-1], [1.5], ['1'], [null], 3, undefined, { 0: 1 }, [2 ** 60]]) {
      expect(refusal(craft({ w: entry('F32', shape, [0, 4]) }))).toContain(
        'tensor w: its shape',
      )
    }
    expect(refusal(craft({ w: entry('U8', Array(65).fill(1), [0, 1]) }))).toContain(
      '65 dimensions',
    )
  })

  test('a shape that overflows, also where a size is 0', () => {
    for (const shape of [
      [2 ** 40, 2 ** 40],
      [2 ** 40, 2 ** 40, 0],
      [0, 2 ** 40, 2 ** 40],
      [2 ** 32, 2 ** 32, 4],
    ]) {
      expect(refusal(craft({ w: entry('F32', shape, [0, 0]) }))).toContain('overflows')
    }
  })

  test('offsets that are none', () => {
    for (const offsets of [
      [0],
      [0, 4, 8],
      [-4, 0],
      [0, 4.5],
      ['0', '4'],
      null,
      4,
      [0, 2 ** 60],
    ]) {
      expect(
        refusal(craft({ w: entry('F32', [1], offsets) }, new Uint8Array(4))),
      ).toContain('its data_offsets')
    }
    expect(refusal(craft({ w: entry('F32', [1], [4, 0]) }, new Uint8Array(4)))).toContain(
      'before it begins',
    )
  })

  test('offsets outside the file, as a truncated file has', () => {
    const header = { w: entry('F32', [2], [0, 8]) }
    expect(refusal(craft(header, new Uint8Array(7)))).toContain(
      'tensor w: its data ends at',
    )
    const whole = readFileSync(fixture)
    const path = join(folder, 'truncated.safetensors')
    for (const size of [4, 100, whole.length / 2, whole.length - 1]) {
      writeFileSync(path, whole.subarray(0, size))
      expect(refusal(path)).toMatch(/cut short|too short/)
    }
  })

  test('a size that does not follow from the shape', () => {
    expect(refusal(craft({ w: entry('F32', [2], [0, 4]) }, new Uint8Array(4)))).toContain(
      'has 4 bytes but F32 [2] needs 8',
    )
  })

  test('overlaps and holes', () => {
    const two = (a: number[], b: number[]) => ({
      a: entry('U8', [2], a),
      b: entry('U8', [2], b),
    })
    expect(refusal(craft(two([0, 2], [1, 3]), new Uint8Array(3)))).toContain(
      "tensor b: its data overlaps another tensor's by 1 bytes",
    )
    expect(refusal(craft(two([0, 2], [0, 2]), new Uint8Array(2)))).toContain('overlaps')
    expect(refusal(craft(two([0, 2], [3, 5]), new Uint8Array(5)))).toContain(
      'tensor b: 1 bytes before its data belong to no tensor',
    )
    expect(refusal(craft(two([0, 2], [2, 4]), new Uint8Array(5)))).toContain(
      '1 bytes at the end of the file belong to no tensor',
    )
    openSafetensors(craft(two([2, 4], [0, 2]), new Uint8Array(4))).dispose()
    openSafetensors(craft({})).dispose()
  })

  test('a thousand damaged copies of a good file, without a crash', () => {
    const whole = readFileSync(fixture)
    const header = Number(whole.readBigUInt64LE())
    const path = join(folder, 'damaged.safetensors')
    const short = Buffer.from(whole.subarray(0, whole.length))
    let state = 12345
    const random = (below: number) => {
      state = (state * 1103515245 + 12345) % 2 ** 31
      return state % below
    }
    for (let i = 0; i < 1000; i++) {
      const damaged = Buffer.from(short)
      for (let j = 0; j < 3; j++) damaged[random(8 + header)] = random(256)
      writeFileSync(path, damaged)
      try {
        const file = openSafetensors(path)
        for (const name of file.names) file.tensor(name).dispose()
        file.dispose()
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_MODEL_FILE' })
      }
    }
  })
})

describe('writeSafetensors', () => {
  test('leaves the old file and nothing else behind when a tensor cannot be read', async () => {
    const own = mkdtempSync(join(folder, 'atomic-'))
    const path = join(own, 'w.safetensors')
    await writeSafetensors(path, { w: tensor([1]) })
    const before = readFileSync(path)
    const meta = zeros([2], { device: 'meta' })
    await expect(writeSafetensors(path, { w: tensor([2]), meta })).rejects.toThrow(
      RangeError,
    )
    const disposed = zeros([1])
    disposed.dispose()
    await expect(writeSafetensors(path, { disposed })).rejects.toMatchObject({
      code: 'ERR_DISPOSED',
    })
    expect(readFileSync(path).equals(before)).toBe(true)
    expect(readdirSync(own)).toEqual(['w.safetensors'])
  })

  test('replaces a file that is mapped at the time', async () => {
    const path = join(folder, 'replaced.safetensors')
    await writeSafetensors(path, { w: tensor([1]) })
    const file = openSafetensors(path)
    const w = file.tensor('w')
    await writeSafetensors(path, { w: w.add(1) })
    expect(w.toArray()).toEqual([1])
    file.dispose()
    const again = openSafetensors(path)
    expect(again.tensor('w').toArray()).toEqual([2])
    again.dispose()
  })

  test('refuses what the format cannot hold', async () => {
    const path = join(folder, 'refused.safetensors')
    const wrong = { metadata: { a: 1 } } as never
    await expect(writeSafetensors(path, {}, wrong)).rejects.toThrow(TypeError)
    await expect(writeSafetensors(path, { w: [1] as never })).rejects.toThrow(TypeError)
    await expect(writeSafetensors(path, { __metadata__: zeros([1]) })).rejects.toThrow(
      RangeError,
    )
    await expect(writeSafetensors(1 as never, {})).rejects.toThrow(TypeError)
  })
})
