// Golden values: test/fixtures/peft. make_peft.py wrote the adapter folders by PEFT 0.21.0 itself and
// noted what PEFT generates and scores with them and with those of `exportPeft` (peft/exported).

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import { generate, score } from '../../lib/inference/index.js'
import {
  createPrompt,
  exportPeft,
  importPeft,
  loadPrompt,
  Prompt,
} from '../../lib/prompt/index.js'
import {
  memory,
  openSafetensors,
  svd,
  type Tensor,
  tidy,
  zeros,
} from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'

interface Case {
  folder: string
  backbone: string
  rows: {
    text: string
    newIds: number[]
    stopped: boolean
    scores: Record<string, number>
  }[]
}

const peft = (name: string) => fixture(`peft/${name}`)
const { cases, maxNewTokens }: { cases: Case[]; maxNewTokens: number } = JSON.parse(
  readFileSync(peft('expected.json'), 'utf8'),
)
const names = ['gpt2-plain', 't5-plain'] as const
// a decoder of two layers, which PEFT's layout of a prefix does not give a pair each
const models = [...names, 't5-old-untied'] as const
const backbones = new Map<string, Backbone>()
const on = (name: string) => backbones.get(name) as Backbone
const folder = mkdtempSync(join(tmpdir(), 'lopt-peft-'))

beforeAll(async () => {
  for (const name of models) backbones.set(name, await loadBackbone(fixture(name)))
  // folders that PEFT wrote do not say which weights they are for
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
})
afterAll(() => {
  vi.restoreAllMocks()
  for (const backbone of backbones.values()) backbone.dispose()
  rmSync(folder, { recursive: true })
})

const values = (prompt: Prompt) => tidy(() => prompt.inputs().detach().toArray())

test('the golden folders are those that PEFT wrote and those that lopt exported', () => {
  expect(cases.map((one) => one.folder)).toEqual([
    'gpt2-plain',
    't5-plain',
    't5-plain-one',
    'p-tuning',
    't5-p-tuning',
    'prefix-tuning',
    't5-prefix-tuning',
    't5-prefix-even',
    'exported/gpt2-plain',
    'exported/t5-plain',
    'exported/prefix-gpt2-plain',
    'exported/prefix-t5-plain',
    'exported/prefix-t5-old-untied',
  ])
})

describe.each(cases)('$folder, imported for $backbone', ({ folder: name, ...wanted }) => {
  test('generates the tokens that PEFT generates', async () => {
    const backbone = on(wanted.backbone)
    const prompt = await importPeft(peft(name), backbone)
    for (const { text, newIds, stopped } of wanted.rows) {
      for await (const event of generate({ backbone, prompt, text, maxNewTokens })) {
        if (event.type !== 'done') continue
        expect(event.tokens, text).toEqual(newIds)
        expect(event.finishReason).toBe(stopped ? 'stop' : 'length')
      }
    }
    prompt.dispose()
  })

  test('gives the scores that PEFT gives, within 1e-4', async () => {
    const backbone = on(wanted.backbone)
    const prompt = await importPeft(peft(name), backbone)
    const labels = Object.keys(wanted.rows[0]?.scores ?? {})
    expect(labels.length).toBe(3)
    const verbalizer = Object.fromEntries(labels.map((label) => [label, label]))
    const task = { template: '{text}', labels, verbalizer }
    const texts = wanted.rows.map(({ text }) => text)
    const found = await score({ backbone, prompt, task, texts })
    for (const [i, { scores }] of wanted.rows.entries()) {
      for (const label of labels) {
        const difference = (found[i]?.scores[label] ?? 0) - (scores[label] ?? 0)
        expect(Math.abs(difference), label).toBeLessThan(1e-4)
      }
    }
    prompt.dispose()
  })
})

describe('an exported prompt', () => {
  test.each([...names, ...models.map((name) => `prefix-${name}`)])(
    'of %s is, to the byte, the folder that PEFT opened',
    async (name) => {
      const model = name.replace('prefix-', '')
      const backbone = on(model)
      const prompt = loadPrompt(peft(`prompts/${name}.lopt.safetensors`), backbone)
      const out = join(folder, name)
      await exportPeft(out, prompt, backbone, { baseModel: model })
      const [read, golden] = [out, peft(`exported/${name}`)].map(
        (at) => (file: string) => readFileSync(join(at, file)),
      ) as [(file: string) => Buffer, (file: string) => Buffer]
      const files = ['adapter_config.json', 'adapter_model.safetensors']
      expect(readdirSync(out).sort()).toEqual([...files, 'lopt.json'])
      for (const file of files) expect(read(file).equals(golden(file)), file).toBe(true)
      const [own, theirs] = [read, golden].map((of) =>
        JSON.parse(String(of('lopt.json'))),
      )
      const created_with = expect.stringMatching(/^lopt \d/)
      expect(own).toEqual({ ...theirs, created_with })
      prompt.dispose()
    },
  )

  test.each<[string, string, Record<string, unknown>]>([
    ['gpt2-plain', 'gpt2-plain', {}],
    ['t5-plain', 't5-plain', { num_transformer_submodules: 1 }],
    ['prefix-gpt2-plain', 'prefix-tuning', {}],
    [
      'prefix-t5-plain',
      't5-prefix-tuning',
      { prefix_projection: false, encoder_hidden_size: 24 },
    ],
    ['prefix-t5-old-untied', 't5-prefix-even', { num_layers: 3 }],
  ])('of %s has the fields that PEFT itself writes', (name, of, others) => {
    const config = (at: string) =>
      readFileSync(join(peft(at), 'adapter_config.json'), 'utf8')
    const theirs = JSON.parse(config(of))
    const own = JSON.parse(config(`exported/${name}`))
    expect(own).toEqual({ ...theirs, num_virtual_tokens: 5, ...others })
    // the same text, character by character, where the values are the same
    expect(JSON.stringify(own, null, 2)).toBe(config(`exported/${name}`))
    expect(Object.keys(own)).toEqual(Object.keys(theirs))
  })

  test.each(['full', 'lopt-1', 'lopt-2', 'ulpt', 'residual', 'p-tuning', 'dpt'] as const)(
    'of %s comes back with the bits of its X, and with its task',
    async (method) => {
      const backbone = on('gpt2-plain')
      const prompt = createPrompt(backbone, {
        method,
        length: 6,
        rank: 2,
        init: 'random',
      })
      prompt.task = {
        template: '{text} It was',
        labels: { 10: 'ten', a: 'b "c"' },
        objective: 'verbalizer',
        maxLength: 31,
      }
      const out = join(folder, method)
      await exportPeft(out, prompt, backbone)
      const again = await importPeft(out, backbone)
      expect(values(again)).toEqual(values(prompt))
      expect(again.task).toEqual(prompt.task)
      expect(again.config).toMatchObject({
        method: 'full',
        length: 6,
        placement: 'prefix',
        backbone: backbone.fingerprint,
      })
      expect(again.start).toEqual({ file: out })
      expect(again.parameters.X?.requiresGrad).toBe(true)
      prompt.dispose()
      again.dispose()
    },
  )

  test.each(models)(
    'of prefix comes back with the bits of its K and V: %s',
    async (name) => {
      const backbone = on(name)
      const prompt = createPrompt(backbone, { method: 'prefix', length: 6, seed: 3 })
      const out = join(folder, `prefix-of-${name}`)
      await exportPeft(out, prompt, backbone)
      const again = await importPeft(out, backbone)
      for (const key of ['K', 'V'] as const) {
        expect(again.parameters[key]?.equal(prompt.parameters[key] as Tensor)).toBe(true)
        expect(again.parameters[key]?.requiresGrad).toBe(true)
      }
      expect(again.config).toEqual(prompt.config)
      expect(again.start).toEqual({ file: out })
      const wanted = again.config
      again.dispose()
      const named = await importPeft(out, backbone, { method: 'prefix' })
      expect(named.config).toEqual(wanted)
      for (const method of ['full', 'lopt-1'] as const) {
        await expect(importPeft(out, backbone, { method })).rejects.toThrow(
          new RangeError(
            `Expected method to be prefix for an adapter of the type PREFIX_TUNING but received ${method}`,
          ),
        )
      }
      named.dispose()
      prompt.dispose()
    },
  )

  test.each(['gpt2-plain', 'p-tuning'])(
    'can come back as the LoPT-1 prompt nearest to it: %s',
    async (name) => {
      const backbone = on('gpt2-plain')
      const X = await importPeft(peft(name), backbone)
      const near = await importPeft(peft(name), backbone, { method: 'lopt-1', rank: 2 })
      expect(near.config).toMatchObject({ method: 'lopt-1', rank: 2, length: 4 })
      const left = tidy(() =>
        X.inputs().detach().sub(near.inputs().detach()).norm().item(),
      )
      const { S } = await svd(X.inputs().detach())
      // Eckart and Young: what is left are the singular values that were cut off
      expect(left).toBeCloseTo(Math.hypot(...(S.toArray() as number[]).slice(2)), 5)
      X.dispose()
      near.dispose()
    },
  )

  test('leaves no tensor behind, nor does its import', async () => {
    const backbone = on('gpt2-plain')
    const prompt = createPrompt(backbone, { method: 'lopt-2', length: 6, rank: 2 })
    const prefix = createPrompt(backbone, { method: 'prefix', length: 6 })
    const run = async () => {
      await exportPeft(join(folder, 'often'), prompt, backbone)
      for (const method of ['full', 'lopt-1'] as const) {
        ;(await importPeft(join(folder, 'often'), backbone, { method })).dispose()
      }
      await exportPeft(join(folder, 'often'), prefix, backbone)
      ;(await importPeft(join(folder, 'often'), backbone)).dispose()
    }
    await run()
    const { tensors: before } = await settledMemory()
    for (let i = 0; i < 4; i++) await run()
    expect(memory().tensors).toBeLessThanOrEqual(before)
    prompt.dispose()
    prefix.dispose()
  })

  test('has no base model where transformers opens none', async () => {
    const own = on('gpt2-plain')
    const { maxPositions, fingerprint } = own // getters, which a spread leaves out
    const source = 'builtin:nano'
    const backbone = { ...own, maxPositions, fingerprint, source } as Backbone
    const prompt = createPrompt(on('gpt2-plain'), { method: 'full', length: 3 })
    await exportPeft(join(folder, 'builtin'), prompt, backbone)
    const text = readFileSync(join(folder, 'builtin/adapter_config.json'), 'utf8')
    expect(JSON.parse(text).base_model_name_or_path).toBeNull()
    prompt.dispose()
  })
})

describe('export refuses', () => {
  test.each([
    [{ placement: 'suffix' as const }, /placement is suffix: only prefix/],
    [{ method: 'dept' as const, rank: 2, textTokens: 8 }, /method dept is more than/],
  ])('%j, and writes nothing', async (options, message) => {
    const backbone = on('gpt2-plain')
    const prompt = createPrompt(backbone, { length: 4, rank: 2, ...options })
    const out = join(folder, 'refused')
    const refused = expect.objectContaining({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringMatching(message),
    })
    await expect(exportPeft(out, prompt, backbone)).rejects.toThrow(refused)
    expect(readdirSync(folder)).not.toContain('refused')
    prompt.dispose()
  })

  test('a backbone of another hidden size, with both named', async () => {
    const prompt = createPrompt(on('gpt2-plain'), { length: 4, rank: 2 })
    await expect(
      exportPeft(join(folder, 'refused'), prompt, on('t5-plain')),
    ).rejects.toThrow(/hidden size 32; .*t5-plain has 24/)
    prompt.dispose()
  })

  test('a backbone that it was not trained on, unless its loader allowed it', async () => {
    const { config, parameters } = createPrompt(on('gpt2-plain'), { length: 4, rank: 2 })
    const exported = (allowOtherBackbone: boolean) => {
      const other = { ...config, backbone: 'abc123' }
      const prompt = new Prompt(other, parameters, { allowOtherBackbone })
      return exportPeft(join(folder, 'foreign'), prompt, on('gpt2-plain'))
    }
    await expect(exported(false)).rejects.toMatchObject({
      code: 'ERR_PROMPT_FILE',
      message: expect.stringMatching(
        /^The prompt was trained on the backbone abc123, but/,
      ),
    })
    await exported(true)
    expect(readdirSync(join(folder, 'foreign'))).toHaveLength(3)
  })

  test('a prefix for other layers, with both named', async () => {
    const { length, hiddenSize, ...config } = createPrompt(on('gpt2-plain'), {
      method: 'prefix',
      length: 4,
    }).config
    const shape = [2, length, hiddenSize]
    const prompt = new Prompt(
      { ...config, length, hiddenSize, layers: 2 },
      { K: zeros(shape), V: zeros(shape) },
    )
    await expect(
      exportPeft(join(folder, 'refused'), prompt, on('gpt2-plain')),
    ).rejects.toThrow(
      expect.objectContaining({
        code: 'ERR_PROMPT_FILE',
        message: expect.stringMatching(
          /for 2 layers of 4 heads of 8; .*plain has 3 layers of 4 heads of 8/,
        ),
      }),
    )
    prompt.dispose()
  })

  test('a folder that cannot be made', async () => {
    const prompt = createPrompt(on('gpt2-plain'), { length: 4, rank: 2 })
    const file = join(peft('gpt2-plain'), 'adapter_config.json', 'below')
    await expect(exportPeft(file, prompt, on('gpt2-plain'))).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_IO' }),
    )
    prompt.dispose()
  })
})

test('of the rows of two submodules the first P are taken', async () => {
  const prompt = await importPeft(peft('t5-plain'), on('t5-plain'))
  const rows = openSafetensors(join(peft('t5-plain'), 'adapter_model.safetensors'))
  expect(values(prompt)).toEqual(
    tidy(() => rows.tensor('prompt_embeddings').slice(0, 0, 4).toArray()),
  )
  expect(prompt.start).toEqual({ file: peft('t5-plain') })
  rows.dispose()
  prompt.dispose()
})

test('a T5 of two layers has the first of two pairs in both, as PEFT has it', async () => {
  const prompt = await importPeft(peft('t5-prefix-even'), on('t5-old-untied'))
  const file = openSafetensors(join(peft('t5-prefix-even'), 'adapter_model.safetensors'))
  tidy(() => {
    // [P, N, 2, heads · D]
    const pairs = file.tensor('prompt_embeddings').view([4, 2, 2, 20])
    const { K, V } = prompt.parameters as Record<'K' | 'V', Tensor>
    for (const layer of [0, 1]) {
      expect(K.select(0, layer).equal(pairs.select(1, 0).select(1, 0))).toBe(true)
      expect(V.select(0, layer).equal(pairs.select(1, 0).select(1, 1))).toBe(true)
    }
  })
  file.dispose()
  prompt.dispose()
})

test('how texts answer rows goes out and comes back, and the text that is generated with it', async () => {
  const backbone = on('gpt2-plain')
  const prompt = createPrompt(backbone, { length: 3, rank: 2 })
  prompt.task = {
    template: '{text} It was',
    labels: {},
    target: { template: ' {summary}', end: true },
    objective: 'lm',
    maxLength: 20,
  }
  const out = join(folder, 'answers')
  await exportPeft(out, prompt, backbone)
  const back = await importPeft(out, backbone)
  expect(back.task).toEqual(prompt.task)
  const said: string[] = []
  for (const own of [prompt, back]) {
    const rows = [{ text: { text: 'The film' }, prompt: own }]
    for await (const event of generate({ backbone, rows, maxNewTokens: 8 })) {
      if (event.type === 'done') said.push(event.text)
    }
  }
  expect(said[1]).toBe(said[0])
  for (const own of [prompt, back]) own.dispose()
})
