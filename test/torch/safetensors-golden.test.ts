// Files of the official safetensors library, and unusual ones within the format.
// Golden values: test/fixtures/safetensors, written by test/fixtures/make_safetensors.py.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type DType, openSafetensors, writeSafetensors } from '../../lib/torch/index.js'

interface GoldenTensor {
  dtype: string
  torchDtype: DType
  shape: number[]
  values: (number | string | boolean)[]
  bytesHex: string
  offset: number
  sizeBytes: number
}
interface GoldenFile {
  note: string
  metadata: Record<string, string>
  tensors: Record<string, GoldenTensor>
}

const folder = new URL('../fixtures/safetensors/', import.meta.url)
const { files } = JSON.parse(readFileSync(new URL('expected.json', folder), 'utf8')) as {
  files: Record<string, GoldenFile>
}
const pathOf = (name: string) => new URL(name, folder).pathname
const readable = Object.entries(files).filter(([name]) => !name.startsWith('unknown'))
const unknown = Object.entries(files).filter(([name]) => name.startsWith('unknown'))
const official = [
  'all-dtypes.safetensors',
  'shapes.safetensors',
  'no-tensors.safetensors',
  'last-is-empty.safetensors',
]

describe('reading', () => {
  test.each(readable)('%s gives every value and byte', async (name, golden) => {
    const file = openSafetensors(pathOf(name))
    expect(file.metadata).toEqual(golden.metadata)
    expect([...file.names].sort()).toEqual(Object.keys(golden.tensors).sort())
    for (const [key, expected] of Object.entries(golden.tensors)) {
      const info = file.info(key)
      expect(info).toEqual({
        dtype: expected.torchDtype,
        shape: expected.shape,
        offset: expected.offset,
        sizeBytes: expected.sizeBytes,
      })
      expect(Buffer.from(file.bytes(key)).toString('hex')).toBe(expected.bytesHex)
      const t = file.tensor(key)
      expect(t.dtype).toBe(expected.torchDtype)
      expect(t.shape).toEqual(expected.shape)
      const values = Array.from((await t.read()) as ArrayLike<number | bigint>)
      for (const [i, value] of values.entries()) {
        const want = expected.values[i]
        if (typeof value === 'bigint') expect(value).toBe(BigInt(want as string))
        else expect(value).toBe(Number(want))
      }
    }
    file.dispose()
  })

  test.each(unknown)('%s is refused, with the tensor named', (name) => {
    expect(() => openSafetensors(pathOf(name))).toThrow(
      expect.objectContaining({
        code: 'ERR_MODEL_FILE',
        message: expect.stringMatching(/tensor other: unknown dtype "\w+"/),
      }),
    )
  })
})

describe('writing', () => {
  test.each(official)('%s again gives the same bytes', async (name) => {
    const own = mkdtempSync(join(tmpdir(), 'lopt-golden-'))
    const file = openSafetensors(pathOf(name))
    const tensors = new Map(file.names.map((key) => [key, file.tensor(key)]))
    const path = join(own, name)
    const hasMetadata = Object.keys(file.metadata).length > 0
    await writeSafetensors(path, tensors, hasMetadata ? { metadata: file.metadata } : {})
    const [written, given] = [readFileSync(path), readFileSync(pathOf(name))]
    expect(written.length).toBe(given.length)
    const start = 8 + Number(given.readBigUInt64LE())
    expect(written.subarray(start).equals(given.subarray(start))).toBe(true)
    // The reference implementation keeps metadata in a hash map: its keys come in any order.
    const header = (bytes: Buffer) =>
      JSON.parse(bytes.subarray(8, start).toString()) as unknown
    expect(header(written)).toEqual(header(given))
    file.dispose()
    rmSync(own, { recursive: true })
  })
})
