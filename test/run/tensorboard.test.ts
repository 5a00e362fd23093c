// Event files for TensorBoard: the framing taken apart. That its own reader reads them is shown by
// read_events.py beside this file.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { EventFile, scalarsOf } from '../../lib/run/tensorboard.js'
import { loadSmall, run } from '../train/small-runs.js'

const folder = mkdtempSync(join(tmpdir(), 'lopt-events-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** CRC-32C bit by bit, from its polynomial (RFC 3720, B.4). */
function crc32c(data: Buffer): number {
  let crc = 0xffffffff
  for (const byte of data) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1)
      crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return ~crc >>> 0
}

function unmasked(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0
  return ((rotated >>> 17) | (rotated << 15)) >>> 0
}

/** The records' bytes; their checksums are compared on the way. */
function recordsOf(path: string): Buffer[] {
  const file = readFileSync(path)
  const records: Buffer[] = []
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at))
    const data = file.subarray(at + 12, at + 12 + length)
    expect(unmasked(file.readUInt32LE(at + 8))).toBe(crc32c(file.subarray(at, at + 8)))
    expect(unmasked(file.readUInt32LE(at + 12 + length))).toBe(crc32c(data))
    records.push(data)
    at += 16 + length
  }
  return records
}

test('the checksum is CRC-32C', () => {
  // RFC 3720, B.4: 32 bytes of zeros, and "123456789" of the catalogue of CRCs
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
})

test('a file begins with its version and a session, then has a record an event', async () => {
  const file = await EventFile.begin(folder, 300)
  await file.write(300, { 'train/loss': 0.5 })
  const [version, session, event, ...rest] = recordsOf(file.path)
  expect(rest).toEqual([])
  // field 3 (file_version), 13 characters
  expect(version?.subarray(9).toString('latin1')).toBe('\x1a\x0dbrain.Event:2')
  // field 2 (step) 300, field 7 (session_log) { field 1 (status) 1 (start) }
  expect([...(session as Buffer).subarray(9)]).toEqual([0x10, 0xac, 0x02, 0x3a, 2, 8, 1])
  // field 5 (summary) { field 1 (value) { field 1 (tag), field 2 (simple_value) } }
  const value = Buffer.from([0x0a, 10, ...Buffer.from('train/loss'), 0x15, 0, 0, 0, 0x3f])
  const expected = [
    0x10,
    0xac,
    0x02,
    0x2a,
    value.length + 2,
    0x0a,
    value.length,
    ...value,
  ]
  expect([...(event as Buffer).subarray(9)]).toEqual(expected)
  expect((event as Buffer).readDoubleLE(1)).toBeGreaterThan(1.7e9)
})

test('a run writes every step and evaluation', async () => {
  const backbone = await loadSmall()
  const out = join(folder, 'run')
  const { events, prompt } = await run({ backbone, out })
  const name = readdirSync(out).find((name) => name.startsWith('events.out.tfevents.'))
  const records = recordsOf(join(out, name as string))
  const counted = events.filter((event) => scalarsOf(event) !== null)
  expect(counted.length).toBe(8)
  expect(records.length).toBe(2 + counted.length)
  prompt.dispose()
  backbone.dispose()
})
