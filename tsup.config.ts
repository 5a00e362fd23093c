// What is bundled into dist/: the library for both module systems, the command line as a program.
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { defineConfig, type Options } from 'tsup'

type Plugin = NonNullable<Options['esbuildPlugins']>[number]

// A page's scripts and styles, which the bundler would otherwise take for parts of the bundle: text where an import says `?raw`.
const rawFiles: Plugin = {
  name: 'raw-files',
  setup(build) {
    const mark = '?raw'
    // the mark stays: tsup has a plugin of its own for whatever ends in .css
    build.onResolve({ filter: /\?raw$/ }, ({ path, importer }) => ({
      path: join(dirname(importer), path),
      namespace: 'raw',
    }))
    build.onLoad({ filter: /\?raw$/, namespace: 'raw' }, ({ path }) => ({
      contents: readFileSync(path.slice(0, -mark.length), 'utf8'),
      loader: 'text',
    }))
  },
}

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
  esbuildPlugins: [rawFiles],
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
