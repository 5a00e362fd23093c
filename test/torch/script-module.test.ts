// TorchScript modules: compile, call, save, load, and what is refused.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  memory,
  noGrad,
  ones,
  openSafetensors,
  parameter,
  ScriptModule,
  type ScriptValue,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lopt-script-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const block = (scale: number) => ({
  name: 'Block',
  source: `
def forward(self, x):
    return x * self.scale.weight + self.offset
`,
  attributes: { offset: { type: 'float', value: 0.5 } as const },
  modules: {
    scale: { name: 'Scale', source: '', parameters: { weight: tensor([scale]) } },
  },
})

const model = () => ({
  name: 'Model',
  source: `
def forward(self, x):
    x = getattr(self.h, "0").forward(x)
    return getattr(self.h, "1").forward(x) + self.shift

def pair(self, x: Tensor, n: int, f: float, flag: bool, word: str):
    return x + n, f * 2.0, not flag, word + "!", n + self.count

def optional(self, x: Optional[Tensor] = None, n: int = 3):
    if x is None:
        return torch.zeros([n])
    return x

def lists(self, xs: List[Tensor], ns: List[int], fs: List[float]):
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return [total * sum(ns), total], ns, fs

def dicts(self, xs: Dict[str, Tensor]):
    return {"sum": xs["a"] + xs["b"], "a": xs["a"]}

def tuples(self, pair: Tuple[Tensor, int]):
    x, n = pair
    return (x * n, (n, [x]))

def nothing(self):
    pass

def wrong_shape(self, x):
    return torch.matmul(x, torch.zeros([7, 7]))

def raises(self, x):
    assert False, "as asked"
`,
  attributes: {
    count: { type: 'int', value: 40 } as const,
    word: { type: 'str', value: 'naïve' } as const,
    flag: { type: 'bool', value: true } as const,
  },
  buffers: { shift: tensor([100]) },
  modules: {
    h: { name: 'Blocks', source: '', modules: { 0: block(2), 1: block(3) } },
  },
})

describe('a compiled module', () => {
  test('runs nested modules, named as the spec says', async () => {
    const module = await ScriptModule.compile(model())
    expect((await module.call('forward', tensor([1]))) as Tensor).toSatisfy(
      (t: Tensor) => t.item() === (1 * 2 + 0.5) * 3 + 0.5 + 100,
    )
    expect([...module.parameters().keys()]).toEqual([
      'h.0.scale.weight',
      'h.1.scale.weight',
    ])
    expect([...module.buffers().keys()]).toEqual(['shift'])
    expect(module.methods().map((method) => method.name)).toContain('forward')
    expect(module.methods().find(({ name }) => name === 'optional')?.schema).toContain(
      'Tensor? x',
    )
    module.dispose()
  })

  test('shares its parameters with the tensors it was given', async () => {
    const weight = parameter(tensor([2]))
    const module = await ScriptModule.compile({
      name: 'Scale',
      source: 'def forward(self, x):\n    return x * self.weight',
      parameters: { weight },
    })
    await weight.fill_(5)
    const result = (await module.call('forward', tensor([3]))) as Tensor
    expect(result.item()).toBe(15)
    await result.sum().backward()
    expect((await weight.grad())?.item()).toBe(3)
    expect(module.parameters().get('weight')?.requiresGrad).toBe(true)
    module.dispose()
  })

  test('lets gradients through to its inputs, and none under noGrad', async () => {
    const module = await ScriptModule.compile(block(2))
    const x = parameter(ones([2]))
    const y = (await module.call('forward', x)) as Tensor
    await y.sum().backward()
    expect((await x.grad())?.toArray()).toEqual([2, 2])
    const detached = (await noGrad(() => module.call('forward', x))) as Tensor
    expect(detached.requiresGrad).toBe(false)
    module.dispose()
  })

  test('takes and gives every kind of value', async () => {
    const module = await ScriptModule.compile(model())
    const plain = (value: ScriptValue): unknown => {
      if (Array.isArray(value)) return value.map(plain)
      if (typeof value !== 'object' || value === null) return value
      if ('toArray' in value) return (value as Tensor).toArray()
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]))
    }
    const call = async (name: string, ...args: ScriptValue[]) =>
      plain(await module.call(name, ...args))
    const x = tensor([1])
    expect(await call('pair', x, 2, 3, true, 'grüße')).toEqual([
      [3],
      6,
      false,
      'grüße!',
      42,
    ])
    expect(await call('optional')).toEqual([0, 0, 0])
    expect(await call('optional', null, 1)).toEqual([0])
    expect(await call('optional', undefined, 2)).toEqual([0, 0])
    expect(await call('optional', x)).toEqual([1])
    expect(await call('lists', [x, x], [1, 2], [0.5, 1])).toEqual([
      [[6], [2]],
      [1, 2],
      [0.5, 1],
    ])
    expect(await call('dicts', { a: x, b: tensor([5]) })).toEqual({ sum: [6], a: [1] })
    expect(await call('tuples', [x, 3])).toEqual([[3], [3, [[1]]]])
    expect(await call('nothing')).toBe(null)
    module.dispose()
  })

  test('gives the first value of a tuple alone, and makes no tensor of the others', async () => {
    const module = await ScriptModule.compile(model())
    const x = tensor([1])
    const { tensors } = await settledMemory()
    const first = (await module.callFirst('tuples', [x, 3])) as Tensor
    expect(first.toArray()).toEqual([3])
    expect(memory().tensors).toBe(tensors + 1)
    await expect(module.callFirst('nothing')).rejects.toMatchObject({
      code: 'ERR_TORCH',
      message: expect.stringContaining('Expected a tuple'),
    })
    first.dispose()
    module.dispose()
  })

  test('belongs its results to the scope of the caller', async () => {
    const module = await ScriptModule.compile(block(2))
    const x = ones([1])
    const { tensors: before } = await settledMemory()
    for (let i = 0; i < 20; i++)
      await tidy(() => module.call('forward', x).then(() => {}))
    expect(memory().tensors).toBeLessThanOrEqual(before)
    module.dispose()
  })

  test('gives the same bits on the first call and on later ones', async () => {
    const module = await ScriptModule.compile({
      name: 'Chain',
      source:
        'def forward(self, x):\n    return torch.tanh(torch.exp(x * 0.1) + x).sum()',
    })
    const bits: unknown[] = []
    for (let i = 0; i < 5; i++) {
      const x = parameter(tensor([0.1, 0.2, 0.3]))
      await ((await module.call('forward', x)) as Tensor).backward()
      bits.push((await x.grad())?.data())
    }
    for (const later of bits) expect(later).toEqual(bits[0])
    module.dispose()
  })
})

describe('save and load', () => {
  test('bring back methods, parameters, buffers and extra files', async () => {
    const path = join(folder, 'model.pt')
    const module = await ScriptModule.compile(model())
    const expected = ((await module.call('forward', tensor([1, 2]))) as Tensor).toArray()
    const extraFiles = {
      'config.json': '{"a": 1}',
      'tokenizer.json': 'grüße\0end',
      empty: '',
    }
    await module.save(path, { extraFiles })
    module.dispose()
    expect(readdirSync(folder)).toEqual(['model.pt'])

    const loaded = await ScriptModule.load(path)
    expect(loaded.extraFiles).toEqual(extraFiles)
    expect(
      ((await loaded.module.call('forward', tensor([1, 2]))) as Tensor).toArray(),
    ).toEqual(expected)
    expect([...loaded.module.parameters().keys()]).toEqual([
      'h.0.scale.weight',
      'h.1.scale.weight',
    ])
    expect(loaded.module.buffers().get('shift')?.toArray()).toEqual([100])
    loaded.module.dispose()
  })

  test('refuse a missing file, a truncated one and one that is something else', async () => {
    const path = join(folder, 'whole.pt')
    const module = await ScriptModule.compile(model())
    await module.save(path)
    module.dispose()
    const whole = readFileSync(path)
    const damaged = join(folder, 'damaged.pt')
    for (const bytes of [
      whole.subarray(0, 0),
      whole.subarray(0, 100),
      whole.subarray(0, whole.length >> 1),
      whole.subarray(0, whole.length - 1),
      Buffer.from('not a zip archive, but long enough to look at'),
      Buffer.alloc(10_000),
    ]) {
      writeFileSync(damaged, bytes)
      await expect(ScriptModule.load(damaged)).rejects.toMatchObject({
        code: 'ERR_MODEL_FILE',
        message: expect.stringContaining(damaged),
      })
    }
    await expect(ScriptModule.load(join(folder, 'missing.pt'))).rejects.toMatchObject({
      code: expect.stringMatching(/ERR_MODEL_FILE|ERR_IO/),
      message: expect.stringContaining('missing.pt'),
    })
    await expect(ScriptModule.load(folder)).rejects.toMatchObject({ code: /ERR_/ })
  })

  test('refuse a path in which the system would stop reading', async () => {
    await expect(ScriptModule.load(`${folder}/whole.pt\0b`)).rejects.toThrow(TypeError)
    expect(() => openSafetensors(`${folder}/whole.pt\0b`)).toThrow(TypeError)
  })

  test('refuse a folder that is not there', async () => {
    const module = await ScriptModule.compile(block(1))
    await expect(module.save(join(folder, 'none', 'x.pt'))).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringContaining('there is no such folder'),
    })
    module.dispose()
  })
})

describe('what a module refuses', () => {
  test('source that does not compile, with its name and TorchScript’s message', async () => {
    for (const source of [
      'def forward(self, x):\n    return x +',
      'def forward(self, x):\n    return self.missing',
      'def forward(self, x):\n    return torch.no_such_function(x)',
      'not python',
    ]) {
      await expect(
        ScriptModule.compile({ name: 'Broken', source }),
      ).rejects.toMatchObject({
        code: 'ERR_TORCH',
        message: expect.stringContaining('Broken'),
      })
    }
  })

  test('a spec that is none', async () => {
    const good = { name: 'M', source: '' }
    for (const wrong of [
      { ...good, name: 1 },
      { ...good, source: undefined },
      { ...good, parameters: { w: [1] } },
      { ...good, attributes: { a: { type: 'int', value: 1.5 } } },
      { ...good, attributes: { a: { type: 'bool', value: 1 } } },
    ]) {
      await expect(ScriptModule.compile(wrong as never)).rejects.toThrow(TypeError)
    }
    await expect(
      ScriptModule.compile({
        ...good,
        attributes: { a: { type: 'list', value: 1 } },
      } as never),
    ).rejects.toThrow(RangeError)
  })

  test('names that are no names, or there twice', async () => {
    const same = {
      name: 'M',
      source: '',
      buffers: { w: zeros([1]) },
      parameters: { w: zeros([1]) },
    }
    await expect(ScriptModule.compile(same)).rejects.toThrow('M has two of w')
    const dotted = { name: 'M', source: '', parameters: { 'a.b': zeros([1]) } }
    await expect(ScriptModule.compile(dotted)).rejects.toThrow(RangeError)
  })

  test('arguments that its schema does not take', async () => {
    const module = await ScriptModule.compile(model())
    const x = tensor([1])
    const wrong: [string, ScriptValue[]][] = [
      ['forward', []],
      ['forward', [1]],
      ['forward', ['x']],
      ['forward', [null]],
      ['forward', [x, x]],
      ['pair', [x, 1.5, 1, true, '']],
      ['pair', [x, 1, '1', true, '']],
      ['pair', [x, 1, 1, 1, '']],
      ['pair', [x, 1, 1, true, 1]],
      ['lists', [x, [], []]],
      ['lists', [[x, 1], [], []]],
      ['dicts', [1]],
      ['tuples', [[x]]],
    ]
    for (const [name, args] of wrong) {
      await expect(module.call(name, ...args), name).rejects.toThrow(TypeError)
    }
    for (const arg of [() => 1, Symbol('x'), 1n, new Date(), new Float32Array(1)]) {
      await expect(module.call('forward', arg as never)).rejects.toThrow(
        'Expected a value that TorchScript knows for argument 1',
      )
    }
    await expect(module.call('no_such_method')).rejects.toThrow(RangeError)
    await expect(module.call(1 as never)).rejects.toThrow(TypeError)
    module.dispose()
  })

  test('what fails inside is ERR_TORCH and names the method', async () => {
    const module = await ScriptModule.compile(model())
    for (const method of ['wrong_shape', 'raises']) {
      await expect(module.call(method, ones([2, 2]))).rejects.toMatchObject({
        code: 'ERR_TORCH',
        message: expect.stringContaining(`Model.${method}`),
      })
    }
    const disposed = ones([1])
    disposed.dispose()
    await expect(module.call('forward', disposed)).rejects.toMatchObject({
      code: 'ERR_DISPOSED',
    })
    expect(((await module.call('forward', tensor([1]))) as Tensor).item()).toBe(108)
    module.dispose()
  })

  test('use after dispose, and a foreign this', async () => {
    const module = await ScriptModule.compile(block(1))
    module.dispose()
    module.dispose()
    await expect(module.call('forward', ones([1]))).rejects.toMatchObject({
      code: 'ERR_DISPOSED',
    })
    expect(() => module.methods()).toThrow(
      expect.objectContaining({ code: 'ERR_DISPOSED' }),
    )
    await expect(
      ScriptModule.prototype.call.call({} as never, 'forward'),
    ).rejects.toThrow(TypeError)
  })
})
