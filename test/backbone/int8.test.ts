// Weights of 8 bits. What they should give is computed here from the float32 model.

import { mkdtempSync, readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  type Backbone,
  createBackbone,
  exportBackbone,
  loadBackbone,
  saveBackbone,
} from '../../lib/backbone/index.js'
import { generate, score } from '../../lib/inference/index.js'
import { createPrompt } from '../../lib/prompt/index.js'
import { createTask } from '../../lib/task/index.js'
import { binding } from '../../lib/torch/context.js'
import {
  Generator,
  memory,
  randn,
  ScriptModule,
  type Tensor,
  tensor,
} from '../../lib/torch/index.js'
import { handleOf, wrap } from '../../lib/torch/tensor.js'
import { train } from '../../lib/train/index.js'
import { settledMemory } from '../live.js'
import { distance, fixture } from './golden.js'

const generator = new Generator({ seed: 0 })
const random = (shape: number[]) => randn(shape, { generator })

function quantizeRows(rows: Tensor): [Tensor, Tensor] {
  return binding().ops.quantizeRows(handleOf(rows)).map(wrap) as [Tensor, Tensor]
}

/** A module with one product. */
async function productOf(weight: Tensor, scale: Tensor, bias: Tensor | null) {
  return await ScriptModule.compile({
    name: 'Product',
    source: `
def product(self, x: Tensor, weight: Tensor, scale: Tensor, bias: Optional[Tensor]) -> Tensor:
    return lopt.int8_linear(x, weight, scale, bias)
`,
  }).then(
    (module) => async (x: Tensor) =>
      (await module.call('product', x, weight, scale, bias)) as Tensor,
  )
}

describe('rows of 8 bits', () => {
  test('are the nearest of 255 steps, the largest number of a row being 127', () => {
    const rows = tensor([
      [0.5, -1, 0.25, 0.1],
      [0, 0, 0, 0],
      [1e-30, -3e-30, 0, 0],
      [3e38, -1e38, 1, 0],
    ])
    const [quantized, scale] = quantizeRows(rows)
    expect(quantized.dtype).toBe('int8')
    expect(quantized.toArray()).toEqual([
      [64, -127, 32, 13], // ties go to the even one
      [0, 0, 0, 0],
      [42, -127, 0, 0],
      [127, -42, 0, 0],
    ])
    const scales = scale.toArray() as number[]
    expect(scales[0]).toBeCloseTo(1 / 127, 9)
    expect(scales[1]).toBe(0)
    expect((scales[3] as number) / (3e38 / 127)).toBeCloseTo(1, 6)
  })

  test('are the same of a transposed matrix, and of half precision', () => {
    const weight = random([70, 33])
    const [whole] = quantizeRows(weight)
    const [turned] = quantizeRows(weight.transpose(0, 1).contiguous().transpose(0, 1))
    expect(turned.toArray()).toEqual(whole.toArray())
    const half = weight.to('bfloat16')
    expect(quantizeRows(half)[0].toArray()).toEqual(
      quantizeRows(half.to('float32'))[0].toArray(),
    )
  })

  test('give the product of what they stand for, whatever the number of rows', async () => {
    for (const [M, K, N] of [
      [1, 32, 48],
      [3, 192, 576],
      [16, 64, 7],
      [65, 100, 33],
      [700, 40, 9],
      [0, 32, 48],
    ] as const) {
      const [weight, scale] = quantizeRows(random([N, K]))
      const bias = random([N])
      const x = random([M, K])
      const [rows, rowScale] = M === 0 ? [x, x] : quantizeRows(x)
      const floats = (values: Tensor, scales: Tensor) =>
        values.to('float32').mul(scales.unsqueeze(1))
      for (const added of [bias, null]) {
        const product = await productOf(weight, scale, added)
        const found = await product(x)
        expect(found.shape).toEqual([M, N])
        if (M === 0) continue
        const exact = floats(rows, rowScale).matmul(floats(weight, scale).transpose(0, 1))
        expect(distance(found, added ? exact.add(added) : exact)).toBeLessThan(2e-4)
      }
      const product = await productOf(weight, scale, bias)
      if (M > 0) expect((await product(x.to('bfloat16'))).dtype).toBe('bfloat16')
    }
  })

  test('that are not finite spread to what they give, and to no other row', async () => {
    const [weight, scale] = quantizeRows(random([5, 8]))
    const product = await productOf(weight, scale, null)
    const rows = random([3, 8]).toArray() as number[][]
    const clean = (await product(tensor(rows))).toArray() as number[][]
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const broken = rows.map((row, i) => (i === 1 ? [value, ...row.slice(1)] : row))
      const found = (await product(tensor(broken))).toArray() as number[][]
      expect(found[1]?.every(Number.isNaN)).toBe(true)
      expect([found[0], found[2]]).toEqual([clean[0], clean[2]])
    }
  })

  test('that do not align are refused with their shapes', async () => {
    const [weight, scale] = quantizeRows(random([5, 8]))
    const product = await productOf(weight, scale, null)
    await expect(product(random([2, 7]))).rejects.toThrow(/\[2, 7\] x \[5, 8\]/)
  })
})

const MODELS = ['gpt2-plain', 'gpt2-untied', 't5-gated', 't5-old-tied'] as const

describe.each(MODELS)('%s with weights of 8 bits', (name) => {
  const open = (dtype: 'float32' | 'int8') => loadBackbone(fixture(name), { dtype })
  const texts = ['A dog and a cat', 'the film', 'it was good, they said, and long']
  const verbalizer = { good: 'good', bad: 'rather bad' }
  const task = { template: '{text}', labels: Object.keys(verbalizer), verbalizer }

  test('scores nearly as in float32, each text as it does alone', async () => {
    const [float, int8] = [await open('float32'), await open('int8')]
    expect([float.quantization, int8.quantization]).toEqual([null, 'int8'])
    expect(int8.fingerprint).toBe(float.fingerprint)
    const scoresOf = async (backbone: Backbone) => {
      const prompts = (['full', 'prefix', 'lopt-1'] as const).map((method, i) =>
        createPrompt(backbone, {
          ...{ method, length: 2 + i, init: 'random', seed: i },
          ...(method === 'lopt-1' && { rank: 2 }),
        }),
      )
      const together = await score({ backbone, task, texts, prompts })
      for (const [i, one] of together.entries()) {
        const text = texts[i] as string
        const [own] = await score({
          backbone,
          task,
          texts: [text],
          prompt: prompts[i] ?? null,
        })
        for (const label of task.labels) {
          // A rounding that differs may be a step of 8 bits.
          const gap = (one.scores[label] as number) - (own?.scores[label] as number)
          expect(Math.abs(gap)).toBeLessThan(0.1)
        }
      }
      return together.flatMap(({ scores }) => Object.values(scores))
    }
    const [exact, near] = [await scoresOf(float), await scoresOf(int8)]
    for (const [i, value] of near.entries()) {
      const expected = exact[i] as number
      expect(Math.abs(value - expected)).toBeLessThan(0.3 + 0.05 * Math.abs(expected))
      expect(value).not.toBe(exact[i])
    }
    float.dispose()
    int8.dispose()
  })

  test('continues texts together as each alone', async () => {
    const backbone = await open('int8')
    const rows = texts.map((text, i) => ({ text, maxNewTokens: 4 + i }))
    const alone: unknown[] = []
    for (const row of rows) {
      for await (const event of generate({ backbone, ...row })) {
        if (event.type === 'done') alone.push(event.tokens)
      }
    }
    for await (const event of generate({ backbone, rows, batchSize: 2 })) {
      if (event.type === 'done') expect(event.tokens).toEqual(alone[event.row])
    }
    backbone.dispose()
  })

  test('is refused where weights are to be changed or written', async () => {
    const backbone = await open('int8')
    const folder = mkdtempSync(join(tmpdir(), 'lopt-int8-'))
    const prompt = createPrompt(backbone, { method: 'full', length: 2 })
    const labelled = createTask({
      train: texts.map((text, i) => ({ text, label: i % 2 ? 'good' : 'bad' })),
    })
    const refused = { code: 'ERR_UNSUPPORTED', message: expect.stringMatching(/float32/) }
    await expect(
      train({ backbone, prompt, task: labelled }).next(),
    ).rejects.toMatchObject(refused)
    await expect(backbone.setTrainable(/wte|shared/)).rejects.toMatchObject(refused)
    await expect(saveBackbone(folder, backbone)).rejects.toMatchObject(refused)
    await expect(exportBackbone(join(folder, 'x.pt'), backbone)).rejects.toMatchObject(
      refused,
    )
    prompt.dispose()
    backbone.dispose()
  })
})

test('weights of 8 bits take about a quarter of the memory, and give it back', async () => {
  const before = await settledMemory()
  const backbone = await loadBackbone('builtin:nano-gpt2', { dtype: 'int8' })
  const sizes = [...backbone.parameters()].map(([name, { numel, dtype }]) => ({
    ...{ name, dtype },
    bytes: numel * (dtype === 'int8' ? 1 : 4),
  }))
  const bytes = (dtype: string) =>
    sizes.filter((one) => one.dtype === dtype).reduce((sum, one) => sum + one.bytes, 0)
  const products = sizes.filter(({ dtype }) => dtype === 'int8').map(({ name }) => name)
  expect(products).toHaveLength(5 * 4 + 1)
  expect(products).toContain('lm_head.weight')
  const embedding = 8000 * 192 * 4 // the file's own is of half precision
  expect(bytes('float32') - embedding).toBeLessThan(0.15 * bytes('int8'))
  backbone.dispose()
  expect((await settledMemory()).tensors).toBeLessThanOrEqual(before.tensors)
  expect(memory().bytes).toBeLessThanOrEqual(before.bytes)
})

test.runIf(process.platform === 'linux')(
  'what weights of 8 bits were made from does not stay in memory',
  async () => {
    const nano = await loadBackbone('builtin:nano-gpt2')
    const config = {
      vocabSize: 8000,
      hiddenSize: 256,
      layers: 8,
      heads: 4,
      positions: 64,
    }
    const made = await createBackbone(config, { seed: 0, tokenizer: nano.tokenizer })
    const folder = mkdtempSync(join(tmpdir(), 'lopt-'))
    await saveBackbone(folder, made)
    const file = join(folder, 'model.safetensors')
    const backbone = await loadBackbone(folder, { dtype: 'int8' })
    // Three quarters are of 8 bits now; the rest, the embedding, lies in the file.
    expect(residentPages(file)).toBeLessThan(0.5 * statSync(file).size)
    for (const one of [nano, made, backbone]) one.dispose()
  },
)

/** Bytes of a mapped file that are in this process's memory. */
function residentPages(file: string): number {
  const maps = readFileSync('/proc/self/smaps', 'utf8').split(
    /^(?=[0-9a-f]+-[0-9a-f]+ )/m,
  )
  return maps
    .filter((map) => map.split('\n')[0]?.endsWith(file))
    .reduce((sum, map) => sum + 1024 * Number(/^Rss:\s+(\d+)/m.exec(map)?.[1]), 0)
}

test('int8 is refused elsewhere than on a CPU, and for a .pt file', async () => {
  const refused = { code: 'ERR_UNSUPPORTED' }
  await expect(
    loadBackbone(fixture('gpt2-plain'), { dtype: 'int8', device: 'meta' }),
  ).rejects.toMatchObject({ ...refused, message: expect.stringMatching(/for a CPU/) })
  await expect(
    loadBackbone(fixture('torchscript/gpt2-plain.pt'), { dtype: 'int8' }),
  ).rejects.toMatchObject({ ...refused, message: expect.stringMatching(/folder/) })
  await expect(
    loadBackbone(fixture('gpt2-plain'), { dtype: 'int4' as never }),
  ).rejects.toThrow(/float64, .*, int8 but received int4/)
})
