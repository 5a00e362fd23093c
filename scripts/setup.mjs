// Sets everything up from a fresh clone: packages, libtorch, the addon, the bundle. Each step is
// skipped when its inputs have not changed. Knows the order of the steps, nothing of how they work.
// Only Node's built-ins, since it runs before anything is installed; no static imports and old
// syntax in this file, so that a Node that is too old still gets its message.

const minimum = [20, 17]
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < minimum[0] || (major === minimum[0] && minor < minimum[1])) {
  console.error(
    'setup: Node ' +
      process.versions.node +
      ' is too old: install Node ' +
      minimum.join('.') +
      ' or newer',
  )
  process.exit(1)
}

import('./setup/steps.mjs')
  .then((steps) => steps.main(process.argv.slice(2)))
  .then(
    (code) => {
      process.exitCode = code
    },
    (error) => {
      console.error(`setup: ${error.name === 'SetupError' ? error.message : error.stack}`)
      process.exitCode = 1
    },
  )
