// Lint: Biome, the direction of imports, and clang-format where it is installed. All run, so that
// one call shows everything. With --fix, what can be mended is (`npm run format`).

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const bin = (name) => join(root, 'node_modules/.bin', name)
const native = readdirSync(join(root, 'native'))
  .filter((name) => /\.(cc|c|h)$/.test(name))
  .map((name) => join('native', name))
const folders = ['lib', 'scripts', 'test', 'bench', 'examples'].filter((name) =>
  existsSync(join(root, name)),
)

const fix = process.argv.includes('--fix')
const checks = [
  [
    bin('biome'),
    fix ? ['check', '--write'] : ['ci', '--error-on-warnings', '--colors=off'],
  ],
  [bin('depcruise'), ['--config', '.dependency-cruiser.cjs', ...folders]],
  ['clang-format', [...(fix ? ['-i'] : ['--dry-run', '--Werror']), ...native]],
]
let failed = 0
for (const [program, args] of checks) {
  const name = program.slice(program.lastIndexOf('/') + 1)
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit' })
  if (error?.code === 'ENOENT' && name === 'clang-format') {
    console.error(
      'lint: clang-format is not installed: native/ was not checked for format',
    )
  } else if (status !== 0) {
    console.error(`lint: ${name} failed`)
    failed++
  }
}
process.exitCode = failed ? 1 : 0
