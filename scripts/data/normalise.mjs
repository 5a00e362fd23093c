// The library's own rule for when two texts are the same, for scripts: its TypeScript source is
// loaded, since data is prepared before anything is compiled.

import { readFileSync } from 'node:fs'
import ts from 'typescript'

const source = readFileSync(
  new URL('../../lib/task/datasets/normalise.ts', import.meta.url),
  'utf8',
)
const { outputText } = ts.transpileModule(source, {
  compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
})

/** @type {typeof import('../../lib/task/datasets/normalise.ts')} */
const module = await import(`data:text/javascript,${encodeURIComponent(outputText)}`)

export const { createTextFinder, fewestWords, normaliseText } = module
