// A backbone's fingerprint: tells whether a prompt was trained on this very model. Knows neither
// files nor modules.

import { createHash } from 'node:crypto'
import type { DType } from '../torch/index.js'
import { architectureOf } from './architectures.js'
import type { BackboneConfig } from './contract.js'

// Enough to tell models apart, and few enough to read in no time from a model of any size.
const ROWS = 64

/** The token embedding as it is stored, before any conversion. */
export interface StoredEmbedding {
  dtype: DType
  rows: number
  /** The bytes of one row, little-endian. */
  row(index: number): Uint8Array
}

/** Indices of the rows that count: 64 spread evenly, or all when there are fewer. */
export function fingerprintRows(rows: number): number[] {
  const count = Math.min(ROWS, rows)
  return Array.from({ length: count }, (_, i) => Math.floor((i * rows) / count))
}

/**
 * SHA-256 in hex of the architecture and of the rows' bytes. It does not depend on how a checkpoint
 * is cut into files, how its tensors are prefixed, or on the dtype it is loaded in.
 */
export function fingerprint(config: BackboneConfig, embedding: StoredEmbedding): string {
  const fields = architectureOf(config).fingerprintFields
  const described = [
    ...fields.map((field) => [field, Reflect.get(config, field) as unknown]),
    embedding.dtype,
  ]
  const hash = createHash('sha256').update(JSON.stringify(described))
  for (const index of fingerprintRows(embedding.rows)) hash.update(embedding.row(index))
  return hash.digest('hex')
}
