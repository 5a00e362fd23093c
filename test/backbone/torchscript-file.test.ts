// test/fixtures/torchscript/*.pt were made by scripts/make-torchscript-backbone.py with transformers and
// torch.jit.script, without lopt.

import { spawnSync } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  type Backbone,
  exportBackbone,
  loadBackbone,
  saveBackbone,
} from '../../lib/backbone/index.js'
import { createPrompt } from '../../lib/prompt/index.js'
import { createTask } from '../../lib/task/index.js'
import {
  Generator,
  randn,
  ScriptModule,
  type Tensor,
  tensor,
  tidy,
} from '../../lib/torch/index.js'
import { train } from '../../lib/train/index.js'
import {
  counted,
  distance,
  fixture,
  golden,
  int64,
  loadCausal,
  logitsOf,
} from './golden.js'
import { batchLogits, goldenT5 } from './golden-t5.js'
import { temporaryFolder } from './temporary.js'

const FOLDERS = [
  'gpt2-plain',
  'gpt2-untied',
  't5-plain',
  't5-gated',
  't5-old-tied',
  'mt5',
]
const elsewhere = (name: string) => fixture(join('torchscript', `${name}.pt`))

/** Logits of a fixed text, [T, N] or [3, K, N]. */
async function someLogits(backbone: Backbone, name: string): Promise<Tensor> {
  return backbone.kind === 'causal'
    ? await logitsOf(backbone, golden(name).rows[2]?.ids as number[])
    : await batchLogits(backbone, goldenT5(name))
}

describe('a backbone written as one file', () => {
  test.each(FOLDERS)('opens as the same: %s', async (name) => {
    const folder = await loadBackbone(fixture(name))
    const path = join(temporaryFolder(), 'model.pt')
    await exportBackbone(path, folder)
    const file = await loadBackbone(path)
    await tidy(async () => {
      const [a, b] = [await someLogits(folder, name), await someLogits(file, name)]
      expect(distance(a, b)).toBe(0)
    })
    expect(file.fingerprint).toBe(folder.fingerprint)
    expect({ ...file.config, raw: 0 }).toEqual({ ...folder.config, raw: 0 })
    expect(file.tokenizer.encode('It was')).toEqual(folder.tokenizer.encode('It was'))
    expect(file.tokenizer.eosTokenId).toBe(folder.tokenizer.eosTokenId)
    expect([...file.parameters().keys()].sort()).toEqual(
      [...folder.parameters().keys()].sort(),
    )
    folder.dispose()
    file.dispose()
  })

  test('computes in another dtype than it is stored in', async () => {
    const name = 'gpt2-plain'
    const folder = await loadBackbone(fixture(name), { dtype: 'float64' })
    const path = join(temporaryFolder(), 'model.pt')
    await exportBackbone(path, folder)
    const half = await loadBackbone(path, { dtype: 'bfloat16' })
    expect(half.fingerprint).toBe(folder.fingerprint)
    expect(new Set([...half.parameters().values()].map(({ dtype }) => dtype))).toEqual(
      new Set(['bfloat16']),
    )
    await tidy(async () => {
      const logits = await someLogits(half, name)
      expect(logits.dtype).toBe('bfloat16')
      const error = distance(logits.to('float64'), await someLogits(folder, name))
      expect(error).toBeLessThan(0.2)
    })
    folder.dispose()
    half.dispose()
  })

  test('of a T5 is not converted to float16, where it overflows', async () => {
    const path = elsewhere('t5-gated')
    await expect(loadBackbone(path, { dtype: 'float16' })).rejects.toThrow(
      /overflows in float16/,
    )
  })

  const python = process.env.LOPT_PEER_PYTHON
  test.skipIf(python === undefined)(
    'gives the same numbers in Python (LOPT_PEER_PYTHON names a Python with torch)',
    async () => {
      const path = join(temporaryFolder(), 'model.pt')
      const folder = await loadCausal(fixture('gpt2-plain'))
      await exportBackbone(path, folder)
      const program = `
import json, sys, torch
module = torch.jit.load(sys.argv[1])
ids = torch.tensor([json.loads(sys.argv[2])])
positions = torch.arange(ids.shape[1])[None]
hidden, _ = module.run(module.embed(ids), positions, None, [], 0, 3, None)
print(json.dumps(module.head(hidden[0], None).tolist()))`
      const ids = golden('gpt2-plain').rows[2]?.ids as number[]
      const { stdout, stderr } = spawnSync(
        python as string,
        ['-W', 'ignore', '-c', program, path, JSON.stringify(ids)],
        { encoding: 'utf8' },
      )
      expect(stderr).toBe('')
      await tidy(async () => {
        const logits = tensor(JSON.parse(stdout) as number[][])
        expect(distance(await logitsOf(folder, ids), logits)).toBeLessThan(1e-5)
      })
      folder.dispose()
    },
  )
})

describe('a file made elsewhere', () => {
  test.each(['gpt2-plain', 't5-gated'])('gives the numbers of %s', async (name) => {
    const folder = await loadBackbone(fixture(name), { dtype: 'float64' })
    const file = await loadBackbone(elsewhere(name), { dtype: 'float64' })
    await tidy(async () => {
      const [a, b] = [await someLogits(folder, name), await someLogits(file, name)]
      expect(distance(a, b)).toBeLessThan(1e-10)
    })
    expect(file.fingerprint).toBe(folder.fingerprint)
    expect([...file.parameters().values()].some((one) => one.requiresGrad)).toBe(false)
    folder.dispose()
    file.dispose()
  })

  test.each(['gpt2-plain', 't5-gated'])(
    'trains a prompt as the folder does: %s',
    async (name) => {
      const rows = ['the dog was', 'the cat was', 'it was a dog', 'it was a cat']
      const task = createTask({
        train: rows.map((text, i) => ({ text, label: i % 2 === 0 ? 'good' : 'bad' })),
        devFraction: 0,
      })
      const losses: number[][] = []
      for (const source of [fixture(name), elsewhere(name)]) {
        const backbone = await loadBackbone(source, { dtype: 'float64' })
        const prompt = createPrompt(backbone, { length: 4, rank: 2 })
        const seen: number[] = []
        const options = { backbone, prompt, task, steps: 10, batchSize: 4 }
        for await (const event of train({ ...options, learningRate: 0.05 })) {
          if (event.type === 'step') seen.push(event.loss)
        }
        losses.push(seen)
        prompt.dispose()
        backbone.dispose()
      }
      const [folder, file] = losses as [number[], number[]]
      expect(file.length).toBe(10)
      expect(file.at(-1)).toBeLessThan(file[0] as number)
      file.forEach((loss, i) => {
        expect(loss / (folder[i] as number)).toBeCloseTo(1, 8)
      })
    },
  )

  // It has neither `run_with_prefixes` nor `run_behind`: `run` takes their place.
  test.each([
    ['as many behind each', undefined, [0, 0, 1, 1], [3, 3]],
    ['as they come', [1, 0, 1, 1], [1, 0, 1, 1], [3, 3]],
    ['prefixes of several lengths', undefined, [0, 0, 1, 1], [3, 1]],
    ['several lengths, as they come', [1, 0, 1, 1], [1, 0, 1, 1], [1, 3]],
  ])(
    'runs rows behind prefixes as the folder does: %s',
    async (_, owners, of, lengths) => {
      const [P, T] = [3, 4]
      const length = (row: number) => lengths[of[row] as number] as number
      const positions = int64(
        of.map((_, row) => counted(1, T, length(row))[0] as number[]),
      )
      const visible = of.map((_, row) =>
        Array.from({ length: P + T }, (_, j) => Number(j < length(row) || j >= P)),
      )
      const isPadded = new Set(lengths).size > 1
      const found: Tensor[][] = []
      for (const source of [fixture('gpt2-plain'), elsewhere('gpt2-plain')]) {
        const backbone = await loadCausal(source, { dtype: 'float64' })
        const { module } = backbone as unknown as { module: ScriptModule }
        const has = module.methods().some(({ name }) => name === 'run_with_prefixes')
        expect(has).toBe(source === fixture('gpt2-plain'))
        const generator = new Generator({ seed: 3 })
        const random = (shape: number[]) =>
          randn(shape, { generator, dtype: 'float64' }).requiresGrad_()
        const prefixes = await random([2, P, backbone.config.hiddenSize])
        const x = await random([4, T, backbone.config.hiddenSize])
        const hidden = await backbone.runWithPrefixes({
          ...{ prefixes, x, positions },
          owners: owners && int64(owners),
          mask: isPadded ? tensor(visible, { dtype: 'bool' }) : undefined,
          queries: int64([[3], [0], [1], [2]]),
        })
        const weight = randn(hidden.shape, { generator, dtype: 'float64' })
        await hidden.mul(weight).sum().backward()
        const { present: past } = await backbone.run({
          x: prefixes.detach(),
          positions: int64(counted(2, P)),
        })
        const behind = await backbone.runBehind({
          ...{ x: x.detach(), positions, past },
          owners: owners && int64(owners),
          mask: isPadded ? tensor(visible, { dtype: 'bool' }) : undefined,
        })
        found.push([
          ...[hidden, behind.hidden, ...behind.present],
          (await prefixes.grad()) as Tensor,
          (await x.grad()) as Tensor,
        ])
        backbone.dispose()
      }
      const [folder, file] = found as [Tensor[], Tensor[]]
      for (const [i, expected] of folder.entries()) {
        expect(expected.abs().amax().item()).toBeGreaterThan(0.1)
        expect(distance(file[i] as Tensor, expected)).toBeLessThan(1e-10)
      }
    },
  )

  test('with names of its own is not written as a Hugging Face folder', async () => {
    const backbone = await loadBackbone(elsewhere('t5-gated'))
    await expect(saveBackbone(temporaryFolder(), backbone)).rejects.toThrow(
      /no parameter encoder\.block\.0/,
    )
    backbone.dispose()
  })
})

describe('a file that is no backbone is refused with what is missing', () => {
  const EMBED = 'def embed(self, ids: Tensor) -> Tensor:\n    return ids\n'
  const config = JSON.stringify({
    model_type: 'gpt2',
    vocab_size: 8,
    n_embd: 4,
    n_head: 1,
  })

  async function fileOf(source: string, extraFiles: Record<string, string>) {
    const path = join(temporaryFolder(), 'bad.pt')
    const module = await ScriptModule.compile({ name: 'Bad', source })
    await module.save(path, { extraFiles })
    module.dispose()
    return path
  }

  test.each([
    ['config.json', EMBED, {}, /holds no config\.json/],
    ['a method', EMBED, { 'config.json': config }, /run\(Tensor, .*\) is missing; head/],
    [
      'an argument',
      'def run(self, x: Tensor) -> Tensor:\n    return x\n',
      { 'config.json': config },
      /run is \(Tensor\) -> Tensor and not/,
    ],
    [
      'an argument of a method that it need not have',
      'def run_with_prefixes(self, x: Tensor) -> Tensor:\n    return x\n',
      { 'config.json': config },
      /run_with_prefixes is \(Tensor\) -> Tensor and not/,
    ],
    ['JSON', EMBED, { 'config.json': '{' }, /config\.json: not JSON/],
    [
      'a model',
      EMBED,
      { 'config.json': '{"model_type": "bert"}' },
      /bert is not supported/,
    ],
  ])('%s', async (_, source, extraFiles, message) => {
    const path = await fileOf(source, extraFiles)
    await expect(loadBackbone(path)).rejects.toThrow(message)
    await expect(loadBackbone(path)).rejects.toThrow(path)
  })

  test('parameters', async () => {
    const methods = [
      EMBED,
      'def run(self, x: Tensor, p: Tensor, m: Optional[Tensor], past: List[Tensor], a: int, b: int, q: Optional[Tensor]) -> Tuple[Tensor, List[Tensor]]:\n    return x, past\n',
      'def head(self, h: Tensor, rows: Optional[Tensor]) -> Tensor:\n    return h\n',
    ]
    const path = await fileOf(methods.join('\n'), { 'config.json': config })
    await expect(loadBackbone(path)).rejects.toThrow(/parameter wte\.weight is missing/)
  })

  test('an archive: another file, or one cut short', async () => {
    const text = join(temporaryFolder(), 'model.pt')
    writeFileSync(text, 'not an archive')
    const cut = join(temporaryFolder(), 'cut.pt')
    const backbone = await loadBackbone(fixture('gpt2-plain'))
    await exportBackbone(cut, backbone)
    backbone.dispose()
    truncateSync(cut, 50_000)
    for (const path of [text, cut]) {
      const error = await loadBackbone(path).catch((error: unknown) => error)
      expect(error).toMatchObject({ code: 'ERR_MODEL_FILE' })
      expect(String(error)).toContain(path)
    }
  })
})
