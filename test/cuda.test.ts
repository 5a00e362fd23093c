// The library on a CUDA device beside the CPU. Where there is none, all of it is skipped, and says so.

import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  type Backbone,
  type BackboneDType,
  createBackbone,
  loadBackbone,
} from '../lib/backbone/index.js'
import { loadTokenizer } from '../lib/backbone/tokenizer.js'
import { LoptError } from '../lib/errors.js'
import {
  type GenerateOptions,
  type GenerateRow,
  generate,
  Inputs,
  StepGraphs,
  score,
} from '../lib/inference/index.js'
import { native } from '../lib/native.js'
import { createPrompt, METHOD_NAMES, type Prompt } from '../lib/prompt/index.js'
import type { TrainEvent } from '../lib/run/index.js'
import {
  availableDevices,
  captureGraph,
  deviceMemory,
  emptyCache,
  Generator,
  ones,
  parseDevice,
  rand,
  randn,
  synchronize,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../lib/torch/index.js'
import { train } from '../lib/train/index.js'
import { fixture } from './backbone/golden.js'
import { type Case, cases, expectGolden } from './torch/golden-ops.js'
import { task } from './train/small-runs.js'

const DEVICE = 'cuda:0'
const skipped = availableDevices().includes(DEVICE)
  ? ''
  : ` (skipped: libtorch ${native().torchVersion} finds no CUDA device here, only ` +
    `${availableDevices().join(', ')})`
if (skipped) console.warn(`test/cuda.test.ts${skipped}`)

const MODELS = ['gpt2-plain', 't5-gated'] as const

/** The largest difference between two tensors, wherever they lie. */
function distance(a: Tensor, b: Tensor): number {
  return tidy(() => {
    const [x, y] = [a, b].map((t) => t.to({ dtype: 'float64', device: 'cpu' }))
    return (x as Tensor)
      .sub(y as Tensor)
      .abs()
      .amax()
      .item()
  })
}

describe.skipIf(skipped)(`ops on CUDA${skipped}`, () => {
  // Another device sums in another order: float32 inputs within float32's rounding.
  const least = { rtol: 1e-4, atol: 1e-5 }
  const others = ['matmul.10', 'to.5']
  const same = cases.filter(({ key }) => !others.includes(key))
  test.each(same.map((c) => [c.key, c] as const))(
    '%s equals PyTorch on the CPU',
    async (_, c) => await expectGolden(c, DEVICE, least),
  )

  test('products of whole numbers are refused: CUDA has none', async () => {
    const [c] = cases.filter(({ key }) => key === 'matmul.10')
    await expect(expectGolden(c as Case, DEVICE)).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
    })
  })

  test('what float8 cannot hold is its largest number, or NaN, and nothing else', () => {
    const values = [-1000, -448, 0.5, 448, 1000]
    const found = tensor(values, { device: DEVICE }).to('float8_e4m3fn').to('float32')
    const [low, ...rest] = found.toArray() as number[]
    const high = rest.pop()
    expect(rest).toEqual([-448, 0.5, 448])
    expect([Number.NaN, -448]).toContain(low)
    expect([Number.NaN, 448]).toContain(high)
  })
})

describe.skipIf(skipped)(`the device${skipped}`, () => {
  test('is found by its names, and one that is not there is refused with those that are', () => {
    expect(parseDevice('cuda')).toBe(DEVICE)
    expect(parseDevice(DEVICE)).toBe(DEVICE)
    expect(() => parseDevice('cuda:99')).toThrow(
      expect.objectContaining({
        code: 'ERR_DEVICE',
        message: expect.stringContaining(availableDevices().join(', ')),
      }),
    )
  })

  test('counts its memory, and gives back what is not in use', async () => {
    const bytes = 64 * 2 ** 20
    emptyCache(DEVICE)
    const before = deviceMemory(DEVICE)
    const held = zeros([bytes / 4], { device: DEVICE })
    await synchronize(DEVICE)
    const during = deviceMemory(DEVICE)
    expect(during.allocated - before.allocated).toBe(bytes)
    expect(during.peakAllocated).toBeGreaterThanOrEqual(during.allocated)
    held.dispose()
    const after = deviceMemory(DEVICE)
    expect(after.allocated).toBe(before.allocated)
    expect(after.reserved).toBe(during.reserved)
    emptyCache(DEVICE)
    expect(deviceMemory(DEVICE).reserved).toBeLessThanOrEqual(during.reserved - bytes)
    expect(deviceMemory(DEVICE).peakAllocated).toBeGreaterThanOrEqual(bytes)
  })

  test('has no room for more than it has: ERR_OUT_OF_MEMORY, and works on', () => {
    const beyond = () => zeros([2 ** 40], { device: DEVICE })
    expect(beyond).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }))
    expect(zeros([2], { device: DEVICE }).toArray()).toEqual([0, 0])
  })

  test('takes copies from pinned memory while other work goes on', async () => {
    const source = randn([512, 512], { generator: new Generator({ seed: 1 }) })
    expect(source.isPinned).toBe(false)
    const pinned = source.pinMemory()
    expect(pinned.isPinned).toBe(true)
    const there = pinned.to({ device: DEVICE, nonBlocking: true })
    // Work on the device waits for the copy by itself; the caller waits by `synchronize`.
    const doubled = there.mul(2)
    await synchronize(DEVICE)
    expect(distance(there, source)).toBe(0)
    expect(distance(doubled, source.mul(2))).toBe(0)
  })

  test('gives the draws of the CPU for the same seed', () => {
    const drawn = (device: string) =>
      [randn, rand].map((draw) =>
        draw([64], { generator: new Generator({ seed: 7 }), device }),
      )
    const [onCpu, there] = [drawn('cpu'), drawn(DEVICE)]
    for (const [i, own] of onCpu.entries()) {
      expect(there[i]?.device).toBe(DEVICE)
      expect(distance(own, there[i] as Tensor)).toBe(0)
    }
  })

  test('refuses a tensor that lies on the CPU, naming both devices', () => {
    const there = zeros([2], { device: DEVICE })
    expect(() => there.add(tensor([1, 2]))).toThrow(/cuda:0 and cpu|cpu and cuda:0/)
  })
})

describe.skipIf(skipped)(`a captured step${skipped}`, () => {
  afterEach(() => vi.restoreAllMocks())

  // Rows of 3 to 11 tokens come in several buckets, in turn, and evaluations lie between.
  test.each([
    ['gpt2-plain', 'lopt-1'],
    ['gpt2-plain', 'prefix'],
    ['t5-gated', 'lopt-1'],
  ] as const)('gives the bits of one that is not: %s, %s', async (name, method) => {
    const found: number[][] = []
    for (const isCaptured of [false, true]) {
      if (!isCaptured) {
        vi.spyOn(StepGraphs.prototype, 'run').mockImplementation((_, work) => work())
      }
      const backbone = await loadBackbone(fixture(name), { device: DEVICE })
      const prompt = createPrompt(backbone, { method, length: 4, rank: 2 })
      const losses: number[] = []
      const settings = { steps: 50, batchSize: 4, evalEvery: 20, learningRate: 0.01 }
      for await (const event of train({ backbone, prompt, task, ...settings })) {
        if (event.type === 'start') expect(event.graphs).toEqual({ captured: true })
        if (event.type === 'step') losses.push(event.loss, event.gradNorm)
      }
      vi.restoreAllMocks()
      found.push(losses)
      disposeAll(prompt, backbone)
    }
    expect(found[1]).toEqual(found[0])
  })

  test.each(MODELS)('gives the tokens of one that is not: %s', async (name) => {
    const backbone = await loadBackbone(fixture(name), { device: DEVICE })
    const prompt = createPrompt(backbone, { length: 4, rank: 2 })
    const rows = Array.from(
      { length: 9 },
      (_, seed): GenerateRow => ({
        ...{
          prompt: seed % 2 ? prompt : null,
          text: 'the dog was'.slice(0, 3 + seed),
          seed,
        },
        ...{ temperature: [0, 0.8, 1.5][seed % 3] as number, maxNewTokens: 6 + 3 * seed },
        ...(seed % 4 === 1 && { topK: 9, topP: 0.8, repetitionPenalty: 1.2 }),
        ...(seed % 4 === 2 && { logProbabilities: 2 }),
      }),
    )
    const said = async (graphs: boolean) => {
      const events = []
      for await (const event of generate({ backbone, rows, batchSize: 4, graphs })) {
        const { type, row, ...rest } = event as typeof event & Record<string, unknown>
        events.push([type, row, rest.token ?? rest.tokens])
      }
      return events
    }
    const expected = await said(false)
    // The second call replays what the first one captured.
    for (let call = 0; call < 3; call += 1) expect(await said(true)).toEqual(expected)
    // The same without a capture, in the same buckets: the bits of what is told are the same.
    const told = async () => {
      const values: (number | undefined)[] = []
      const options = { backbone, rows, batchSize: 4, graphs: true, logProbabilities: 1 }
      for await (const event of generate(options)) {
        if (event.type === 'token') values.push(event.logProbability)
      }
      return values
    }
    const captured = await told()
    vi.spyOn(StepGraphs.prototype, 'run').mockImplementation((_, work) => work())
    expect(captured).toEqual(await told())
    vi.restoreAllMocks()
    disposeAll(prompt, backbone)
  })

  test('gives what no other overwrites on its way, in whatever order they are replayed', async () => {
    const x = ones([256, 256], { device: DEVICE })
    // Whose memory on the way the second one's results may take.
    const work = (by: number) => async () => [
      (await x.mul(by).matmul(x)).add(by).sum([1]),
      x.mul(by).sum([0]),
    ]
    const graphs = []
    for (const by of [1, 2, 3]) {
      await tidy(work(by))
      graphs.push(await captureGraph(DEVICE, work(by)))
    }
    const [, second] = graphs as [never, (typeof graphs)[number]]
    const replayed = second.replay()
    const others = graphs.filter((one) => one !== second).map((one) => one.replay())
    const results = await replayed
    await Promise.all(others)
    const [sums, columns] = await Promise.all(
      results.map((one) => (one as Tensor).read()),
    )
    expect(new Set(sums as Float32Array)).toEqual(new Set([256 * (2 * 256 + 2)]))
    expect(new Set(columns as Float32Array)).toEqual(new Set([2 * 256]))
    for (const one of graphs) await one.dispose()
  })

  test('can be captured once all others have gone, and after one that failed', async () => {
    const x = zeros([64, 64], { device: DEVICE })
    const work = async () => [x.add(1).sum()]
    await tidy(work)
    const captured = async () => {
      const graph = await captureGraph(DEVICE, work)
      const sum = (await graph.replay())[0]?.item()
      await graph.dispose()
      return sum
    }
    expect(await captured()).toBe(64 * 64)
    emptyCache(DEVICE)
    expect(await captured()).toBe(64 * 64)
    // What reads a value back waits, which nothing may that is captured.
    const reads = captureGraph(DEVICE, async () => [
      x.mul((await x.sum().read())[0] ?? 0),
    ])
    await expect(reads).rejects.toThrow()
    expect(await captured()).toBe(64 * 64)
    emptyCache(DEVICE)
    const shaped = captureGraph(DEVICE, async () => [x.reshape([3])])
    await expect(shaped).rejects.toThrow(/reshape/)
    expect(await captured()).toBe(64 * 64)
  })

  test('finds the memory that others hold', async () => {
    const total = deviceMemory(DEVICE)
    const graphs = new StepGraphs(DEVICE)
    const other = new StepGraphs(DEVICE)
    const run = (own: StepGraphs, count: number) =>
      tidy(async () => {
        const inputs = new Inputs(DEVICE)
        const one = inputs.int64(Array.from({ length: count }, () => 1))
        const results = await own.run(inputs, async () => [
          one.sum(),
          zeros([2 ** 20, 2 ** 8], { device: DEVICE }),
        ])
        return results[0]?.item()
      })
    for (let i = 0; i < 3; i += 1) await run(other, 2)
    expect(deviceMemory(DEVICE).allocated).toBeGreaterThan(total.allocated + 2 ** 30 - 1)
    let isShort = true
    const found = await tidy(async () => {
      const inputs = new Inputs(DEVICE)
      const one = inputs.int64([1, 2, 3])
      return await graphs.run(inputs, async () => {
        if (isShort) {
          isShort = false
          throw new LoptError('ERR_OUT_OF_MEMORY', 'no memory left')
        }
        return [one.sum()]
      })
    })
    expect(found[0]?.item()).toBe(6)
    expect(other.count).toBe(0)
    for (const one of found) one.dispose()
    // It comes again, and is captured anew.
    expect(await run(other, 2)).toBe(2)
    expect(await run(other, 2)).toBe(2)
    for (const own of [graphs, other]) await own.dispose()
    emptyCache(DEVICE)
    expect(deviceMemory(DEVICE).allocated).toBeLessThanOrEqual(total.allocated)
  })

  test('lets others compute while it is captured', async () => {
    const x = zeros([64, 64], { device: DEVICE })
    const work = async () => {
      const product = x.matmul(x).add(1)
      return [product.sum()]
    }
    await tidy(work)
    const [graph, ...others] = await Promise.all([
      captureGraph(DEVICE, work),
      ...[1, 2, 3].map(async (value) => {
        const one = tensor([value], { device: DEVICE })
        await one.add_(1)
        return one.mul(2).item()
      }),
    ])
    expect(others).toEqual([4, 6, 8])
    expect((await graph.replay())[0]?.item()).toBe(64 * 64)
    await graph.dispose()
  })
})

async function trained(
  name: string,
  device: string,
  options: { dtype?: BackboneDType; method?: (typeof METHOD_NAMES)[number] } = {},
): Promise<{ losses: number[]; prompt: Prompt; backbone: Backbone }> {
  const { dtype = 'float32', method = 'lopt-1' } = options
  const backbone = await loadBackbone(fixture(name), { device, dtype })
  const prompt = createPrompt(backbone, { method, length: 4, rank: 2 })
  const events: TrainEvent[] = []
  const settings = { steps: 3, batchSize: 8, evalEvery: 3, learningRate: 0.01 }
  for await (const event of train({ backbone, prompt, task, ...settings })) {
    events.push(event)
  }
  const losses = events.flatMap((event) => (event.type === 'step' ? [event.loss] : []))
  return { losses, prompt, backbone }
}

function disposeAll(...things: { dispose(): void }[]): void {
  for (const thing of things) thing.dispose()
}

describe.skipIf(skipped).each(MODELS)(`%s on CUDA${skipped}`, (name) => {
  test.each(METHOD_NAMES)('trains a prompt of %s as on the CPU', async (method) => {
    const onCpu = await trained(name, 'cpu', { method })
    const there = await trained(name, DEVICE, { method })
    expect(there.backbone.device).toBe(DEVICE)
    for (const [i, loss] of onCpu.losses.entries()) {
      expect(Math.abs((there.losses[i] as number) - loss)).toBeLessThan(1e-4)
    }
    // What a prompt gives, which is no more than its factors allow: their signs and scales are free.
    const given = ({ prompt }: typeof onCpu) => {
      const { inputs, embeddingDelta, past } = prompt.contribution()
      return [inputs, embeddingDelta, ...(past ?? [])].filter((one) => one !== undefined)
    }
    const [own, theirs] = [given(onCpu), given(there)]
    expect(own.length).toBeGreaterThan(0)
    own.forEach((one, i) => {
      expect(distance(theirs[i] as Tensor, one)).toBeLessThan(1e-3)
    })
    disposeAll(onCpu.prompt, there.prompt, onCpu.backbone, there.backbone)
  })

  test.each(['bfloat16', 'float16'] as const)(
    'trains and scores in %s',
    async (dtype) => {
      const { losses, prompt, backbone } = await trained(name, DEVICE, { dtype })
      expect(losses.every(Number.isFinite)).toBe(true)
      expect(Object.values(prompt.parameters).map((t) => t.dtype)).not.toContain(dtype)
      const [found] = await score({ backbone, prompt, texts: ['the dog was'] })
      expect(Object.values(found?.scores ?? {}).every(Number.isFinite)).toBe(true)
      disposeAll(prompt, backbone)
    },
  )

  test('takes the dtype of its file unless told', async () => {
    const backbone = await loadBackbone(fixture(name), { device: 'cuda' })
    expect(backbone.dtype).toBe('float32')
    expect(backbone.tokenEmbedding.device).toBe(DEVICE)
    backbone.dispose()
  })

  test('generates what it generates on the CPU', async () => {
    const rules: Omit<GenerateOptions, 'backbone' | 'text'>[] = [
      {},
      { cache: false },
      { temperature: 0.9, topK: 20, topP: 0.9, seed: 3 },
      { numBeams: 3, repetitionPenalty: 1.2 },
    ]
    const generated = async (device: string) => {
      const backbone = await loadBackbone(fixture(name), { device, dtype: 'float32' })
      const prompt = createPrompt(backbone, { length: 4, rank: 2 })
      const all: (readonly number[])[] = []
      for (const rule of rules) {
        const options = { backbone, prompt, text: 'the dog', maxNewTokens: 6, ...rule }
        for await (const event of generate(options))
          if (event.type === 'done') all.push(event.tokens)
      }
      disposeAll(prompt, backbone)
      return all
    }
    expect(await generated(DEVICE)).toEqual(await generated('cpu'))
  })

  test('is made fresh with the same weights as on the CPU', async () => {
    const tokenizer = await loadTokenizer(fixture(name))
    const config = { hiddenSize: 32, heads: 4, layers: 2 }
    const made = async (device: string) =>
      name === 'gpt2-plain'
        ? await createBackbone(config, { seed: 5, tokenizer, device })
        : await createBackbone(
            { ...config, modelType: 't5' },
            { seed: 5, tokenizer, device },
          )
    const [onCpu, there] = [await made('cpu'), await made(DEVICE)]
    expect(there.fingerprint).toBe(onCpu.fingerprint)
    for (const [key, own] of onCpu.parameters()) {
      expect(distance(own, there.parameters().get(key) as Tensor), key).toBe(0)
    }
    disposeAll(onCpu, there)
  })

  test('gives its memory back', async () => {
    // What cuBLAS takes at its first product stays: it is there before the count begins.
    const first = await trained(name, DEVICE)
    disposeAll(first.prompt, first.backbone)
    await synchronize(DEVICE)
    const before = deviceMemory(DEVICE).allocated
    const { prompt, backbone } = await trained(name, DEVICE)
    expect(deviceMemory(DEVICE).allocated).toBeGreaterThan(before)
    disposeAll(prompt, backbone)
    await synchronize(DEVICE)
    expect(deviceMemory(DEVICE).allocated).toBe(before)
  })
})
