// What is bundled into dist/: the library for both module systems, the command line as a program.
import { readFileSync, writeFileSync } from 'node:fs'
import { defineConfig, type Options } from 'tsup'

const common: Options = {
  outDir: 'dist',
  target: 'node20',
  platform: 'node',
  splitting: true,
  sourcemap: true,
  shims: true,
  clean: false,
  // TorchScript sources and pages, imported as strings: the bundle reads no file at run time
  loader: { '.py': 'text', '.html': 'text' },
}

// tsup turns `import()` into `require()` in CommonJS output that is split (it goes through sucrase, which is
// not told to keep it); vega cannot be required, having a top-level await.
async function keepDynamicImports(): Promise<void> {
  const path = 'dist/index.cjs'
  const required =
    /Promise\.resolve\(\)\.then\(\(\) => _interopRequireWildcard\(require\((['"][\w-]+['"])\)\)\)/g
  const source = readFileSync(path, 'utf8')
  const kept = source.replace(required, 'import($1)')
  if (kept === source) throw new Error(`${path}: no dynamic import was found to be kept`)
  writeFileSync(path, kept)
}

export default defineConfig([
  {
    ...common,
    entry: {
      index: 'lib/index.ts',
      torch: 'lib/torch/index.ts',
      server: 'lib/serve/index.ts',
    },
    format: ['esm', 'cjs'],
    dts: true,
    onSuccess: keepDynamicImports,
  },
  {
    ...common,
    entry: { cli: 'lib/cli/main.ts' },
    format: ['esm'],
    banner: { js: '#!/usr/bin/env node' },
  },
])
