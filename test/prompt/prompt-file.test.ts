import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Backbone, loadBackbone } from '../../lib/backbone/index.js'
import {
  createPrompt,
  loadPrompt,
  type Prompt,
  savePrompt,
} from '../../lib/prompt/index.js'
import {
  memory,
  openSafetensors,
  type Tensor,
  tensor,
  tidy,
  writeSafetensors,
  zeros,
} from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-prompt-file-'))
const path = join(folder, 'prompt.lopt.safetensors')
let backbone: Backbone // H 32
let other: Backbone // H 24
beforeAll(async () => {
  backbone = await loadBackbone(fixture('gpt2-plain'))
  other = await loadBackbone(fixture('gpt2-untied'))
})
afterAll(() => {
  backbone.dispose()
  other.dispose()
  rmSync(folder, { recursive: true })
})

const tensorsOf = (prompt: Prompt) => ({ ...prompt.parameters, ...prompt.buffers })
const bytes = (t: Tensor) =>
  Buffer.from((t.data() as Float32Array).buffer).toString('hex')

const task = {
  template: '{text} It was',
  labels: { positive: 'good', negative: 'bad "so"' },
  objective: 'lm' as const,
  maxLength: 40,
}

describe('a round trip', () => {
  test.each(['lopt-1', 'lopt-2', 'full'] as const)(
    'of %s is bit-equal, in numbers and in what is known of it',
    async (method) => {
      const prompt = createPrompt(backbone, {
        method,
        placement: 'suffix',
        activation: 'soft-threshold',
        activationThreshold: 0.1,
        init: 'random',
      })
      prompt.task = task
      await savePrompt(path, prompt)
      const again = loadPrompt(path, backbone)
      expect(again.config).toEqual(prompt.config)
      expect(again.task).toEqual(task)
      for (const [name, t] of Object.entries(tensorsOf(prompt))) {
        expect(bytes(tensorsOf(again)[name] as Tensor), name).toBe(bytes(t))
      }
      for (const parameter of Object.values(again.parameters)) {
        expect(parameter.requiresGrad && parameter.isLeaf).toBe(true)
      }
      const second = join(folder, 'second.safetensors')
      await savePrompt(second, again)
      const files = [path, second].map((name) => openSafetensors(name).metadata)
      expect(files[0]).toEqual(files[1])
      prompt.dispose()
      again.dispose()
    },
  )

  test('writes the metadata and tensors that docs/file-formats.md names', async () => {
    const prompt = createPrompt(backbone, { method: 'lopt-2', length: 8, rank: 2 })
    prompt.task = task
    await savePrompt(path, prompt)
    const file = openSafetensors(path)
    expect(file.metadata).toEqual({
      format: 'lopt',
      version: '1',
      method: 'lopt-2',
      length: '8',
      rank: '2',
      hidden_size: '32',
      placement: 'prefix',
      activation: 'relu',
      activation_threshold: '0.1',
      backbone: backbone.fingerprint,
      template: '{text} It was',
      labels: '{"positive":"good","negative":"bad \\"so\\""}',
      objective: 'lm',
      max_length: '40',
      created_with: expect.stringMatching(/^lopt \d/),
    })
    expect([...file.names].sort()).toEqual(['U', 'V', 'X0'])
    for (const name of file.names) expect(file.info(name).dtype).toBe('float32')
    file.dispose()
    prompt.dispose()
  })

  test('leaves no tensor and no other file behind', async () => {
    const prompt = createPrompt(backbone, { method: 'lopt-2' })
    const run = async () => {
      await savePrompt(path, prompt)
      loadPrompt(path, backbone).dispose()
    }
    await run()
    const { tensors: before } = await settledMemory()
    for (let i = 0; i < 5; i++) await run()
    expect(memory().tensors).toBeLessThanOrEqual(before)
    expect(readdirSync(folder).filter((name) => !name.endsWith('.safetensors'))).toEqual(
      [],
    )
    prompt.dispose()
  })

  test('of a float64 prompt keeps its float32 values', async () => {
    const double = await loadBackbone(fixture('gpt2-plain'), { dtype: 'float64' })
    const prompt = createPrompt(double, {})
    await savePrompt(path, prompt)
    const again = loadPrompt(path, double)
    expect(again.parameters.U?.dtype).toBe('float64')
    const rounded = prompt.parameters.U?.detach().to('float32').to('float64') as Tensor
    expect(again.parameters.U?.detach().equal(rounded)).toBe(true)
    for (const it of [prompt, again]) it.dispose()
    double.dispose()
  })
})

test('a prompt knows where its numbers came from', async () => {
  const words = ['good', 'bad']
  const starts: unknown[] = []
  for (const init of ['random', 'text:the dog', 'labels']) {
    const prompt = createPrompt(backbone, { init, labels: words, seed: 4 })
    starts.push(prompt.start)
    await savePrompt(path, prompt)
    prompt.dispose()
  }
  const loaded = loadPrompt(path, backbone)
  expect([...starts, loaded.start]).toEqual([
    { init: 'random', seed: 4 },
    { init: 'text:the dog', seed: 4 },
    { init: 'labels', seed: 4, labels: words },
    { file: path },
  ])
  loaded.dispose()
})

describe('the backbone', () => {
  test('of another fingerprint is refused with both named, unless allowed', async () => {
    await edited({ metadata: { backbone: 'abc123' } })
    expect(() => loadPrompt(path, backbone)).toThrow(
      expect.objectContaining({
        code: 'ERR_PROMPT_FILE',
        message: expect.stringMatching(
          new RegExp(`abc123.*${backbone.fingerprint.slice(0, 8)}`, 's'),
        ),
      }),
    )
    loadPrompt(path, backbone, { allowOtherBackbone: true }).dispose()
  })

  test('of another hidden size is refused with both named, allowed or not', async () => {
    await edited({})
    for (const allowOtherBackbone of [false, true]) {
      expect(() => loadPrompt(path, other, { allowOtherBackbone })).toThrow(
        expect.objectContaining({
          code: 'ERR_PROMPT_FILE',
          message: expect.stringMatching(/32.*24/s),
        }),
      )
    }
  })

  test('that a file does not name is taken with a warning', async () => {
    await edited({ metadata: { backbone: undefined } })
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    loadPrompt(path, backbone).dispose()
    expect(warn).toHaveBeenCalledOnce()
    expect(String(warn.mock.calls[0]?.[0])).toContain(path)
    warn.mockRestore()
  })
})

interface Change {
  metadata?: Record<string, string | undefined>
  tensors?: Record<string, Tensor | undefined>
}

/** A LoPT-1 prompt's file (P 8, R 2, H 32) after a change. */
async function edited({ metadata = {}, tensors = {} }: Change): Promise<void> {
  const prompt = createPrompt(backbone, { length: 8, rank: 2 })
  await savePrompt(path, prompt)
  prompt.dispose()
  await tidy(async () => {
    const file = openSafetensors(path)
    const given = Object.fromEntries(file.names.map((n) => [n, file.tensor(n).clone()]))
    const known = { ...file.metadata, ...metadata }
    file.dispose()
    const defined = (record: object) =>
      Object.fromEntries(Object.entries(record).filter(([, v]) => v !== undefined))
    await writeSafetensors(path, defined({ ...given, ...tensors }), {
      metadata: defined(known),
    })
  })
}

describe('refused, with the file and what is wrong:', () => {
  const nan = () => tensor([Number.NaN]).expand([8, 2]).contiguous()
  const cases: [string, () => Change, RegExp][] = [
    ['an unknown version', () => ({ metadata: { version: '2' } }), /version.*2/s],
    ['no format', () => ({ metadata: { format: undefined } }), /format/],
    ['another method', () => ({ metadata: { method: 'lopt-9' } }), /method/],
    ['a length that is no number', () => ({ metadata: { length: 'ten' } }), /length/],
    [
      'a length that the shapes do not have',
      () => ({ metadata: { length: '9' } }),
      /U.*9, 2.*8, 2/,
    ],
    ['a rank of 0', () => ({ metadata: { rank: '0' } }), /rank.*1\.\.8.*0/],
    ['a rank above P', () => ({ metadata: { rank: '9' } }), /rank.*1\.\.8.*9/],
    ['another placement', () => ({ metadata: { placement: 'middle' } }), /placement/],
    [
      'a template without labels',
      () => ({ metadata: { template: '{text}', labels: undefined } }),
      /go together/,
    ],
    ['labels that are no JSON', () => ({ metadata: { labels: '{"a"' } }), /labels/],
    ['labels that are no words', () => ({ metadata: { labels: '{"a":1}' } }), /labels/],
    [
      'a threshold that is no number',
      () => ({ metadata: { activation_threshold: 'x' } }),
      /threshold/,
    ],
    ['a missing tensor', () => ({ tensors: { V: undefined } }), /U, V.*found U/],
    ['a tensor too many', () => ({ tensors: { W: zeros([1]) } }), /W/],
    [
      'a wrong shape',
      () => ({ tensors: { V: zeros([32, 2]) } }),
      /V.*\[2, 32\].*\[32, 2\]/,
    ],
    [
      'a wrong dtype',
      () => ({ tensors: { V: zeros([2, 32], { dtype: 'float64' }) } }),
      /V.*float64/,
    ],
    ['NaN', () => ({ tensors: { U: nan() } }), /U.*finite/],
  ]
  test.each(cases)('%s', async (_, change, message) => {
    await edited(change())
    const { tensors: before } = await settledMemory()
    expect(() => loadPrompt(path, backbone)).toThrow(
      expect.objectContaining({
        name: 'LoptError',
        code: 'ERR_PROMPT_FILE',
        message: expect.stringMatching(message),
      }),
    )
    expect(() => loadPrompt(path, backbone)).toThrow(path)
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })

  test('a file that is no safetensors file', () => {
    writeFileSync(path, 'not a prompt, surely')
    expect(() => loadPrompt(path, backbone)).toThrow(
      expect.objectContaining({
        code: 'ERR_PROMPT_FILE',
        message: expect.stringContaining(path),
      }),
    )
  })

  test('an empty file', () => {
    writeFileSync(path, '')
    expect(() => loadPrompt(path, backbone)).toThrow(
      expect.objectContaining({ code: 'ERR_PROMPT_FILE' }),
    )
  })

  test('a prompt longer than the model has positions', async () => {
    const prompt = createPrompt(backbone, { length: 62, rank: 2 })
    prompt.dispose()
    await edited({
      metadata: { length: '63' },
      tensors: { U: zeros([63, 2]) },
    })
    expect(() => loadPrompt(path, backbone)).toThrow(/63 virtual tokens.*64 positions/)
  })

  test('a folder that is not there, when saving', async () => {
    const prompt = createPrompt(backbone, {})
    await expect(savePrompt('/nowhere/at/all.safetensors', prompt)).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_IO' }),
    )
    prompt.dispose()
  })
})
