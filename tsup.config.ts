// What is bundled into dist/: the library for both module systems, the command line as a program.
import { defineConfig, type Options } from 'tsup'

const common: Options = {
  outDir: 'dist',
  target: 'node20',
  platform: 'node',
  splitting: true,
  sourcemap: true,
  shims: true,
  clean: false,
  // TorchScript sources, imported as strings: the bundle reads no file at run time
  loader: { '.py': 'text' },
}

export default defineConfig([
  {
    ...common,
    entry: { index: 'lib/index.ts', torch: 'lib/torch/index.ts' },
    format: ['esm', 'cjs'],
    dts: true,
  },
  {
    ...common,
    entry: { cli: 'lib/cli/main.ts' },
    format: ['esm'],
    banner: { js: '#!/usr/bin/env node' },
  },
])
