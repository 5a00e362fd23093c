// The direction of imports: docs/architecture.md. A layer may import those to the left of it:
//   errors < addon < native < torch < backbone < prompt < inference < run < { train < study, engine < serve } < cli
// fields, the words for options that do not fit, stands behind torch; hub needs only errors and
// atomic-file; task needs errors, hub and the tokenizer's type, and is
// used from inference on.

const folder = (name) => `^lib/${name}/`
const ERRORS = '^lib/errors\\.ts$'
const NATIVE = '^lib/native\\.ts$'
const ATOMIC_FILE = '^lib/atomic-file\\.ts$'
const FIELDS = '^lib/fields\\.ts$'

// Files that each layer may import, beside its own. What is not named is forbidden.
const layers = [
  { name: 'errors', from: ERRORS, to: [] },
  // it looks for libtorch as set-up does, by the same code
  { name: 'addon', from: folder('addon'), to: [ERRORS, '^scripts/setup/'] },
  { name: 'native', from: NATIVE, to: [ERRORS, folder('addon')] },
  { name: 'atomic-file', from: ATOMIC_FILE, to: [ERRORS] },
  { name: 'fields', from: FIELDS, to: ['^lib/torch/check\\.ts$'] },
  { name: 'hub', from: folder('hub'), to: [ERRORS, ATOMIC_FILE] },
]
const order = [
  'torch',
  'backbone',
  'prompt',
  'inference',
  'run',
  'train',
  'study',
  'engine',
  'serve',
  'cli',
]
// What trains and what serves stand beside each other.
const apart = { train: 'trains', study: 'trains', engine: 'serves', serve: 'serves' }
const before = (name, other) => order.indexOf(name) < order.indexOf(other)
for (const name of order) {
  const to = [ERRORS, NATIVE, ATOMIC_FILE]
  for (const other of order) {
    const isApart = apart[name] !== undefined && apart[name] !== apart[other]
    const siblings = isApart && apart[other] !== undefined
    if (before(other, name) && !siblings) to.push(folder(other))
  }
  if (before('torch', name)) to.push(folder('hub'), '^lib/(py|html|raw)\\.d\\.ts$')
  if (before('torch', name)) to.push(FIELDS)
  if (before('prompt', name)) to.push(folder('task'))
  layers.push({ name, from: folder(name), to })
}
// The command line's `doctor` asks what set-up asks, by the same code.
layers
  .find(({ name }) => name === 'cli')
  .to.push('^scripts/setup/', '^lib/index\\.ts$', folder('addon'))

module.exports = {
  forbidden: [
    ...layers.map(({ name, from, to }) => ({
      name: `direction-${name}`,
      comment: `${name} may import only what lies before it`,
      severity: 'error',
      from: { path: from },
      to: {
        path: '^(lib|scripts|test|bench|examples)/',
        pathNot: [from, ...to],
      },
    })),
    {
      name: 'direction-task',
      comment: 'task is data: errors, hub, atomic-file, and the tokenizer as a type',
      severity: 'error',
      from: { path: folder('task') },
      to: {
        path: '^(lib|scripts|test|bench|examples)/',
        pathNot: [
          folder('task'),
          ERRORS,
          ATOMIC_FILE,
          folder('hub'),
          '^lib/backbone/tokenizer',
        ],
      },
    },
    {
      name: 'task-tokenizer-type-only',
      comment: "task needs the tokenizer's type, never its code",
      severity: 'error',
      from: { path: folder('task') },
      to: { path: '^lib/backbone/tokenizer', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'one-loader',
      comment: 'only lib/native.ts has the addon loaded; doctor asks what there is',
      severity: 'error',
      from: { path: '^(lib|bench|examples)/', pathNot: [NATIVE, folder('addon')] },
      to: { path: '^lib/addon/load|\\.node$' },
    },
    {
      name: 'public-face-only',
      comment: 'bench and examples use the public API',
      severity: 'error',
      from: { path: '^(bench|examples)/' },
      to: { path: '^lib/', pathNot: '^lib/(index|torch/index)\\.ts$' },
    },
    {
      name: 'no-cycles',
      comment: 'a cycle through a type import is none once types are gone',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'resolvable',
      comment:
        'every import leads to a file or an installed package; dist/ is built later',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '^lopt|/dist/' },
    },
    {
      name: 'no-dev-dependency',
      comment: 'what ships imports no package that is installed for development only',
      severity: 'error',
      from: { path: '^lib/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only', 'npm-peer'] },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|build)/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      extensions: ['.ts', '.d.ts', '.mjs', '.js', '.cjs', '.py', '.html', '.json'],
      mainFields: ['module', 'main', 'types'],
    },
  },
}
