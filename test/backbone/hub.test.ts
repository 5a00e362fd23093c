import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { loadBackbone } from '../../lib/backbone/index.js'
import { type HubServer, startHub } from '../hub/hub-server.js'
import { fixture } from './golden.js'

let hub: HubServer
let home: string

async function serve(
  name: string,
  without: string[] = [],
  more: Record<string, Buffer> = {},
): Promise<void> {
  const names = readdirSync(fixture(name)).filter((file) => !without.includes(file))
  const files = names.map((file) => [file, readFileSync(join(fixture(name), file))])
  hub = await startHub({
    ...Object.fromEntries(files),
    ...more,
    'README.md': Buffer.from('not needed'),
    'pytorch_model.bin': Buffer.alloc(10),
  })
  vi.stubEnv('HF_ENDPOINT', hub.endpoint)
}
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'lopt-hub-'))
  vi.stubEnv('HF_HOME', home)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await hub?.close()
  rmSync(home, { recursive: true, force: true })
})

describe('a model id', () => {
  test.each(['gpt2-plain', 'gpt2-sharded', 't5-gated'])(
    'opens as the folder does, and needs no network the next time: %s',
    async (name) => {
      await serve(name)
      const backbone = await loadBackbone('org/tiny')
      const folder = await loadBackbone(fixture(name))
      expect(backbone.fingerprint).toBe(folder.fingerprint)
      expect(backbone.source).toBe('org/tiny')
      const asked = hub.requests.map(({ url }) => url.split('/').at(-1))
      for (const other of ['README.md', 'pytorch_model.bin', 'expected.json']) {
        expect(asked).not.toContain(other)
      }
      folder.dispose()
      backbone.dispose()

      const before = hub.requests.length
      vi.stubEnv('HF_HUB_OFFLINE', '1')
      const again = await loadBackbone('org/tiny')
      expect(again.fingerprint).toBe(folder.fingerprint)
      expect(hub.requests.length).toBe(before)
      again.dispose()
    },
  )

  test("with GPT-2's vocab.json and merges.txt, and tokens added to them, opens", async () => {
    const [vocab, merges] = ['vocab.json', 'merges.txt'].map((file) =>
      readFileSync(join(fixture('gpt2-tokenizer'), file)),
    ) as [Buffer, Buffer]
    await serve('gpt2-plain', ['tokenizer.json'], {
      'vocab.json': vocab,
      'merges.txt': merges,
      'added_tokens.json': Buffer.from('{"[PAD]": 512}'),
      'special_tokens_map.json': Buffer.from('{"pad_token": "[PAD]"}'),
    })
    const backbone = await loadBackbone('org/tiny')
    const { tokenizer } = backbone
    expect(tokenizer.encode('a[PAD]')).toEqual([...tokenizer.encode('a'), 512])
    expect([tokenizer.eosTokenId, tokenizer.padTokenId]).toEqual([511, 512])
    backbone.dispose()
  })

  test('without a tokenizer is refused before anything is downloaded', async () => {
    for (const half of ['vocab.json', 'merges.txt']) {
      await serve('gpt2-plain', ['tokenizer.json'], { [half]: Buffer.from('{}') })
      const error = await loadBackbone('org/tiny').catch((error: unknown) => error)
      expect(error).toMatchObject({
        code: 'ERR_MODEL_FILE',
        message:
          'org/tiny holds neither tokenizer.json nor what one is made of: spiece.model, or vocab.json ' +
          'with merges.txt',
      })
      expect(hub.requests.some(({ url }) => url.includes('/content/'))).toBe(false)
      await hub.close()
    }
  })

  test('without safetensors is refused before anything is downloaded', async () => {
    await serve('gpt2-plain', ['model.safetensors'])
    const error = await loadBackbone('org/tiny').catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED' })
    expect(String(error)).toMatch(/org\/tiny: the weights are in pytorch_model\.bin/)
    expect(hub.requests.some(({ url }) => url.includes('/content/'))).toBe(false)
  })

  test('that the hub does not know is refused with what to do', async () => {
    await serve('gpt2-plain')
    const error = await loadBackbone('org/other').catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'ERR_NETWORK' })
    expect(String(error)).toMatch(/org\/other .*404.*check name and revision/)
  })
})

test('a path that is no id and no folder is not looked for on the hub', async () => {
  await serve('gpt2-plain')
  for (const path of ['./nowhere', '/no/where', 'a/b/c']) {
    await expect(loadBackbone(path)).rejects.toThrow(/There is no folder/)
  }
  expect(hub.requests).toEqual([])
})
