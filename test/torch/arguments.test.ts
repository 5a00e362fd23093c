// Every function and every method of lopt/torch, called without types: whatever stands in the place of an
// argument or of `this`, what is thrown is said in this package's words, not in the engine's or Node's.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LoptError } from '../../lib/errors.js'
import * as torch from '../../lib/torch/index.js'

type Call = (...args: unknown[]) => unknown

const folder = mkdtempSync(join(tmpdir(), 'lopt-arguments-'))
const file = join(folder, 'x.safetensors')
const saved = join(folder, 'x.pt')
const generator = new torch.Generator({ seed: 0 })
const square = torch.ones([2, 2])
const weight = torch.parameter(torch.ones([2, 2]))
const whole = torch.tensor([0, 1], { dtype: 'int64' })
const mask = square.gt(0)
const spec = { name: 'M', source: 'def f(self, x: Tensor):\n    return (x, x)' }
let opened: torch.SafetensorsFile
let module: torch.ScriptModule

beforeAll(async () => {
  await torch.writeSafetensors(file, { x: square })
  opened = torch.openSafetensors(file)
  module = await torch.ScriptModule.compile(spec)
  await module.save(saved)
  await weight.setGrad(square)
})
afterAll(() => rmSync(folder, { recursive: true }))

const nothing = () => {}

/** Right arguments, the last an object of options where there are any. */
const functions: Record<string, unknown[]> = {
  addmm: [square, square, square, { alpha: 1 }],
  arange: [0, 2, { step: 1 }],
  availableDevices: [],
  cat: [[square], 0],
  clipGradNorm: [[weight], 1],
  crossEntropy: [square, whole, { reduction: 'mean' }],
  deviceMemory: ['cpu'],
  einsum: ['ij->ji', [square]],
  embedding: [square, whole],
  emptyCache: ['cpu'],
  enableGrad: [nothing],
  eye: [2, { dtype: 'float32' }],
  full: [[2], 1, { dtype: 'float32' }],
  getNumThreads: [],
  grad: [weight, [weight], { gradOutputs: [square] }],
  isFloatingPoint: ['int8'],
  isGradEnabled: [],
  itemSize: ['int8'],
  keep: [square],
  layerNorm: [square, [2], { weight: null }],
  linear: [square, square, null],
  linspace: [0, 1, 2, { dtype: 'float32' }],
  lstsq: [square, square],
  manualSeed: [0],
  memory: [],
  multinomial: [torch.ones([2]), 1, { generator }],
  noGrad: [nothing],
  ones: [[2], { device: 'cpu' }],
  openSafetensors: [file],
  parameter: [square],
  parseDevice: ['cpu'],
  rand: [[2], { generator }],
  randint: [0, 2, [2], { generator }],
  randn: [[2], { generator }],
  randperm: [2, { generator }],
  recordOps: [nothing, { inputs: false }],
  releaseMemory: [],
  rmsNorm: [square, [2], { eps: 1 }],
  scaledDotProductAttention: [square, square, square, { scale: 1 }],
  setNumThreads: [1],
  stack: [[square], 0],
  svd: [square, { fullMatrices: false }],
  synchronize: ['cpu'],
  tensor: [[1, 2], { dtype: 'float32', shape: [2] }],
  allowTf32: [false],
  captureGraph: ['cpu', () => []],
  capturesGraphs: ['cpu'],
  tidy: [nothing],
  where: [mask, square, 0],
  writeSafetensors: [join(folder, 'y'), { x: square }, { metadata: { a: 'b' } }],
  zeros: [[2], { dtype: 'float32' }],
}

const optimizer = { step: [], zeroGrad: [], state: [], dispose: [], learningRates: [] }

/** Of methods and getters that take something; what is missing takes nothing. */
const methods: Record<string, Record<string, unknown[]>> = {
  Generator: { setState: [generator.state()] },
  SafetensorsFile: { has: ['x'], info: ['x'], tensor: ['x'], bytes: ['x', 0, 1] },
  ScriptModule: {
    call: ['f', square],
    callFirst: ['f', square],
    convert: ['float64'],
    save: [saved, { extraFiles: { a: 'b' } }],
  },
  Tensor: {
    ...Object.fromEntries(
      'add sub mul div pow remainder eq ne lt le gt ge minimum maximum logicalAnd logicalOr equal allclose matmul add_ mul_ copy_'
        .split(' ')
        .map((name) => [name, [square, {}]]),
    ),
    ...Object.fromEntries(
      'sum mean amax amin logsumexp argmax argmin'
        .split(' ')
        .map((name) => [name, [0, { keepdim: true }]]),
    ),
    ...Object.fromEntries(
      'std variance norm sort gelu clamp flatten to backward'
        .split(' ')
        .map((name) => [name, [{ dim: 0, min: 0 }]]),
    ),
    ...Object.fromEntries(
      'cumsum softmax logSoftmax unsqueeze squeeze flip tril triu softshrink fill_'
        .split(' ')
        .map((name) => [name, [0]]),
    ),
    topk: [1, { dim: 0 }],
    reshape: [[4]],
    view: [[4]],
    transpose: [0, 1],
    permute: [[1, 0]],
    expand: [[2, 2]],
    repeat: [[1, 1]],
    slice: [0, 0, 1, 1],
    select: [0, 0],
    split: [1, 0],
    gather: [0, torch.zeros([2, 2], { dtype: 'int64' })],
    scatter: [0, torch.zeros([2, 2], { dtype: 'int64' }), square],
    indexSelect: [0, whole],
    index: [[whole, null]],
    maskedFill: [mask, 0],
    requiresGrad_: [false],
    setGrad: [null],
  },
  ...Object.fromEntries(
    ['Adam', 'AdamW', 'SGD', 'Adafactor'].map((name) => [
      name,
      {
        ...optimizer,
        setLearningRate: [0.1, 0],
        loadState: [
          {
            kind: name.toLowerCase(),
            groups: [{ options: {}, size: 1 }],
            parameters: [null],
          },
        ],
      },
    ]),
  ),
}

function argumentsOf(name: string, key: string | symbol): unknown[] {
  const own = Object.entries(methods[name] ?? {}).find(([method]) => method === key)
  return own?.[1] ?? []
}

const made: Record<string, () => object> = {
  Generator: () => new torch.Generator({ seed: 0 }),
  SafetensorsFile: () => opened,
  ScriptModule: () => module,
  Tensor: () => torch.ones([2, 2]),
  Adam: () => new torch.Adam([weight]),
  AdamW: () => new torch.AdamW([weight]),
  SGD: () => new torch.SGD([weight]),
  Adafactor: () => new torch.Adafactor([weight]),
}
/** Right arguments of `new`; a tensor is made by functions only. */
const constructors: Record<string, unknown[]> = {
  Generator: [{ seed: 0 }],
  SafetensorsFile: [],
  ScriptModule: [],
  Tensor: [],
  ...Object.fromEntries(
    ['Adam', 'AdamW', 'SGD', 'Adafactor'].map((name) => [
      name,
      [[{ params: [weight], lr: 1 }], { lr: 1, betas: [0, 0] }],
    ]),
  ),
}
const statics: Record<string, unknown[]> = {
  compile: [
    {
      ...spec,
      parameters: { p: weight },
      buffers: { b: square },
      attributes: { a: { type: 'int', value: 1 } },
      modules: { m: spec },
    },
  ],
  load: [saved, { device: 'cpu' }],
}

const foreign: unknown[] = [
  undefined,
  null,
  {},
  [undefined],
  [null],
  Object.create(null),
  Symbol('x'),
  7n,
  -1.5,
  true,
  'no/such/thing',
  new Map([['x', null]]),
  torch.ones([3]),
  nothing,
]

/** Lists in which one argument, or one field of an object or array, is foreign, and none. */
function* wrong(args: readonly unknown[]): Generator<unknown[]> {
  yield []
  for (const [i, arg] of args.entries()) {
    for (const value of [...foreign, ...inside(arg)]) yield args.with(i, value)
  }
  for (const value of foreign) yield [...args, value]
}

function* inside(arg: unknown): Generator<unknown> {
  if (typeof arg !== 'object' || arg === null || ArrayBuffer.isView(arg)) return
  const prototype: unknown = Object.getPrototypeOf(arg)
  if (prototype !== Object.prototype && !Array.isArray(arg)) return
  for (const [key, value] of Object.entries(arg)) {
    for (const other of [...foreign, ...inside(value)]) {
      const copy = Array.isArray(arg) ? [...arg] : { ...arg }
      ;(copy as Record<string, unknown>)[key] = other
      yield copy
    }
  }
}

const ENGINE =
  /Cannot (read prop|read private|destructure|convert|set|use|mix|access|create)|is not (iterable|a function|a constructor|defined|an object|extensible)|not iterable|private (member|field|method)|Receiver must|called on|[Ii]ncompatible receiver|undefined or null|Class (constructor|extends)|Maximum call stack|Invalid (array|typed|time|date)|[Rr]educe of empty|The "\w+" argument/

/** What is wrong with how a call failed; undefined where nothing is. */
async function complaint(call: () => unknown): Promise<string | undefined> {
  try {
    await call()
    return undefined
  } catch (error) {
    const { name, message } = error as Error
    const isOurs =
      error instanceof TypeError ||
      error instanceof RangeError ||
      error instanceof LoptError
    const isNodes = !(error instanceof LoptError) && (error as { code?: unknown }).code
    return !isOurs || isNodes || ENGINE.test(message) ? `${name}: ${message}` : undefined
  }
}

async function complaints(calls: Iterable<() => unknown>): Promise<string[]> {
  const found = new Set<string>()
  for (const call of calls) {
    const text = await complaint(call)
    if (text !== undefined) found.add(text)
  }
  return [...found]
}

const exported = Object.entries(torch).filter(([, value]) => typeof value === 'function')
const isClass = (value: unknown) => /^class\b/.test(String(value))

/** Methods and getters of a class and of those it extends. */
function members(made: object): Map<string | symbol, PropertyDescriptor> {
  const found = new Map<string | symbol, PropertyDescriptor>()
  for (let at = Object.getPrototypeOf(made); at !== Object.prototype; ) {
    for (const key of Reflect.ownKeys(at)) {
      if (key === 'constructor' || found.has(key)) continue
      found.set(key, Object.getOwnPropertyDescriptor(at, key) as PropertyDescriptor)
    }
    at = Object.getPrototypeOf(at)
  }
  return found
}

test('every export is in the tables above', () => {
  const names = (classes: boolean) =>
    exported.flatMap(([name, value]) => (isClass(value) === classes ? [name] : []))
  expect(names(false).sort()).toEqual(Object.keys(functions).sort())
  expect(names(true).sort()).toEqual(Object.keys(made).sort())
})

test.each(Object.entries(functions))(
  '%s says what is wrong with its arguments',
  async (name, args) => {
    const call = (torch as unknown as Record<string, Call>)[name] as Call
    await call(...args)
    const calls = [...wrong(args)].map((list) => () => call(...list))
    expect(await complaints(calls)).toEqual([])
  },
)

describe.each(Object.keys(made))('%s', (name) => {
  const create = made[name] as () => object

  test('says what is wrong with what it is made of', async () => {
    const made = (
      torch as unknown as Record<string, new (...args: unknown[]) => unknown>
    )[name] as new (
      ...args: unknown[]
    ) => unknown
    const calls = [...wrong(constructors[name] as unknown[])].map(
      (list) => () => new made(...list),
    )
    expect(await complaints(calls)).toEqual([])
  })

  test('says in each method what is wrong with its arguments', async () => {
    const found: Record<string, string[]> = {}
    for (const [key, { value }] of members(create())) {
      if (typeof value !== 'function') continue
      const args = argumentsOf(name, key)
      const calls = [...wrong(args)].map((list) => () => {
        const object = create()
        return (object as Record<string | symbol, Call>)[key]?.(...list)
      })
      const texts = await complaints(calls)
      if (texts.length > 0) found[String(key)] = texts
    }
    expect(found).toEqual({})
  })

  test('is told from another `this`', async () => {
    const found: Record<string, string[]> = {}
    const others = [
      ...foreign.filter((value) => !(value instanceof torch.Tensor)),
      new Date(),
    ]
    for (const [key, { value, get }] of members(create())) {
      const called = others.map((other) => async () => {
        const args = argumentsOf(name, key)
        await (value === undefined
          ? get?.call(other)
          : (value as Call).call(other, ...args))
        throw new Error('it went through')
      })
      const texts = await complaints(called)
      if (texts.length > 0) found[String(key)] = texts
    }
    expect(found).toEqual({})
  })
})

test.each(Object.entries(statics))(
  'ScriptModule.%s says what is wrong with its arguments',
  async (name, args) => {
    const call = (torch.ScriptModule as unknown as Record<string, Call>)[name] as Call
    await call(...args)
    const calls = [...wrong(args)].map((list) => () => call(...list))
    expect(await complaints(calls)).toEqual([])
  },
)
