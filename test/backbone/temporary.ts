// Checkpoint folders that a test may change: copies in the system's temporary folder.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect } from 'vitest'
import { loadBackbone } from '../../lib/backbone/index.js'
import {
  memory,
  openSafetensors,
  type Tensor,
  tidy,
  writeSafetensors,
} from '../../lib/torch/index.js'
import { settledMemory } from '../live.js'
import { fixture } from './golden.js'

const made: string[] = []
afterAll(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true })
})

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'lopt-backbone-'))
  made.push(folder)
  return folder
}

/** A copy of a fixture that can be written to. */
export function copyOf(name: string): string {
  const folder = temporaryFolder()
  cpSync(fixture(name), folder, { recursive: true })
  return folder
}

/** Changes fields of a JSON file; undefined removes one. */
export function editJson(
  folder: string,
  file: string,
  change: Record<string, unknown>,
): void {
  const path = join(folder, file)
  const before: Record<string, unknown> = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...before, ...change }))
}

/**
 * A copy of a fixture whose tokenizer has one token more, `[PAD]`, behind all others: the model has no
 * row for it.
 */
export function withAddedToken(name: string): { folder: string; id: number } {
  const folder = copyOf(name)
  const path = join(folder, 'tokenizer.json')
  const tokenizer = JSON.parse(readFileSync(path, 'utf8'))
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
  const id: number = config.vocab_size
  const like = tokenizer.added_tokens.at(-1)
  tokenizer.added_tokens.push({ ...like, id, content: '[PAD]' })
  writeFileSync(path, JSON.stringify(tokenizer))
  writeFileSync(join(folder, 'tokenizer_config.json'), '{"pad_token": "[PAD]"}')
  return { folder, id }
}

/** Rewrites model.safetensors after `change` has had its way with the tensors. */
export async function editWeights(
  folder: string,
  change: (weights: Map<string, Tensor>) => void,
): Promise<void> {
  const path = join(folder, 'model.safetensors')
  await tidy(async () => {
    const file = openSafetensors(path)
    const weights = new Map(file.names.map((name) => [name, file.tensor(name).clone()]))
    file.dispose()
    change(weights)
    await writeSafetensors(path, weights, { metadata: { format: 'pt' } })
  })
}

/** The error of a load that must fail, and leave no tensor behind. */
export async function refusal(
  source: string,
): Promise<{ code?: string; message: string }> {
  const { tensors: before } = await settledMemory()
  const error = await loadBackbone(source).then(
    () => new Error('loaded'),
    (error: unknown) => error as Error,
  )
  expect(memory().tensors).toBeLessThanOrEqual(before)
  return error
}
