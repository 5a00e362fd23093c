// How tests run: `.py` files (TorchScript sources) and `.html` files import as strings, as in the bundle.
import { readFileSync } from 'node:fs'
import { defineConfig, type Plugin } from 'vitest/config'

const filesAsText: Plugin = {
  name: 'files-as-text',
  enforce: 'pre',
  load(id) {
    if (!/\.(py|html)$/.test(id)) return null
    return `export default ${JSON.stringify(readFileSync(id, 'utf8'))}`
  },
}

export default defineConfig({
  plugins: [filesAsText],
  test: {
    include: ['test/**/*.test.ts'],
    // the page's styles, as text: vitest empties others
    css: { include: /\.css\?raw$/ },
    // libtorch is loaded once a process: a thread of the test's own would share its threads and
    // its grad mode, and a crash would end all tests
    pool: 'forks',
    // tests of what lives collect first what earlier ones left (test/live.ts)
    poolOptions: { forks: { minForks: 1, maxForks: 2, execArgv: ['--expose-gc'] } },
    // two test files run at a time: threads of their own would wait for each other
    env: { OMP_NUM_THREADS: '1' },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
