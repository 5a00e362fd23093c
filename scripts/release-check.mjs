// @ts-check
// `npm run release:check`: what can be known of a release before it is published, of the tarballs of `npm run pack:platform`. Says each
// finding in a line.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { output, run } from './setup/process.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const packages = join(root, 'build/packages')

/** What a tarball may weigh packed, in MB: npm has refused 230 (npm/cli issue 4794). */
const LIMITS = { '@lopt/libtorch-cpu-linux-x64': 150, lopt: 20 }
/** MB of any other: of an addon. */
const LIMIT = 2
const ADDON = ['LICENSE', 'README.md', 'lopt.node', 'open.node']
/** What must be in each, and what must be in none. */
const FILES = {
  '@lopt/linux-x64': ADDON,
  '@lopt/libtorch-cpu-linux-x64': [
    ...['README.md', 'libc10.so', 'libgomp.so.1', 'libtorch_cpu.so'],
    ...['licenses/libgomp/COPYING3', 'licenses/oneMKL/LICENSE', 'licenses/torch/LICENSE'],
  ],
  lopt: [
    ...['LICENSE', 'README.md', 'CHANGELOG.md', 'CMakeLists.txt', 'native/addon.cc'],
    ...['dist/cli.js', 'dist/index.cjs', 'dist/index.d.cts', 'dist/index.d.ts'],
    ...['dist/server.cjs', 'dist/torch.cjs', 'models/nano-gpt2/model.safetensors'],
    'models/nano-t5/model.safetensors',
  ],
}
const STRAY =
  /\.map$|\.tsbuildinfo$|^test\/|^bench\/|^scripts\/|node_modules|\.env|\.npmrc/

/** @type {string[]} */
const problems = []
const lopt = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
if (!existsSync(packages))
  problems.push('there are no packages: run `npm run pack:platform`')
else {
  const tarballs = readdirSync(packages).map((name) => join(packages, name))
  const manifests = tarballs.map((file) => checkTarball(file))
  for (const name of Object.keys(FILES))
    if (!manifests.some((manifest) => manifest.name === name))
      problems.push(`there is no tarball of ${name}`)
  checkVersions(manifests)
  await checkTypes(tarballs.find((file) => /\/lopt-\d[^/]*\.tgz$/.test(file)))
}
checkChangelog()
for (const problem of problems) console.error(`release:check: ${problem}`)
console.log(problems.length === 0 ? 'ready to be released' : 'not ready to be released')
process.exitCode = problems.length === 0 ? 0 : 1

/**
 * Sizes, files and licence of a tarball.
 *
 * @param {string} file
 * @returns {{ name: string, version: string, [key: string]: unknown }}
 */
function checkTarball(file) {
  const manifest = JSON.parse(
    output('tar', ['-xzOf', file, 'package/package.json']) ?? '',
  )
  const { name, license } = manifest
  const names = (output('tar', ['-tzf', file], { timeoutMs: 120_000 }) ?? '')
    .split('\n')
    .map((path) => path.replace(/^package\//, ''))
  const megabytes = statSync(file).size / 1e6
  console.log(
    `${name} ${manifest.version}: ${megabytes.toFixed(1)} MB, ${names.length} files`,
  )
  const limit = Object.entries(LIMITS).find(([each]) => each === name)?.[1] ?? LIMIT
  if (megabytes > limit) problems.push(`${name} weighs more than ${limit} MB`)
  const wanted = Object.entries(FILES).find(([each]) => each === name)?.[1] ?? ADDON
  for (const path of wanted)
    if (!names.includes(path)) problems.push(`${name} lacks ${path}`)
  for (const path of names) if (STRAY.test(path)) problems.push(`${name} has ${path}`)
  if (!license) problems.push(`${name} names no licence`)
  if (manifest.scripts) problems.push(`${name} has scripts`)
  return manifest
}

/** @param {readonly { name: string, version: string, [key: string]: unknown }[]} manifests */
function checkVersions(manifests) {
  for (const { name, version } of manifests)
    if (!name.includes('/libtorch-') && version !== lopt.version)
      problems.push(`${name} has version ${version}, and lopt ${lopt.version}`)
  for (const { name, dependencies, optionalDependencies, peerDependencies } of manifests)
    for (const [other, range] of Object.entries({
      .../** @type {object} */ (dependencies),
      .../** @type {object} */ (optionalDependencies),
      .../** @type {object} */ (peerDependencies),
    })) {
      const packed = manifests.find((manifest) => manifest.name === other)
      // the package for CUDA is made by hand, from another libtorch
      if (!packed && other.endsWith('-cuda13')) continue
      if (other.startsWith('@lopt/') && packed?.version !== range)
        problems.push(
          `${name} asks for ${other} ${range}, and ${packed?.version} is packed`,
        )
    }
}

/** @param {string | undefined} tarball of lopt itself */
async function checkTypes(tarball) {
  if (!tarball) return
  const bin = (/** @type {string} */ name) => join(root, 'node_modules/.bin', name)
  for (const [name, args] of /** @type {const} */ ([
    ['publint', ['run', tarball, '--strict']],
    // Node 10's resolution knows no `exports`: `lopt/torch` needs a newer one
    ['attw', [tarball, '--profile', 'node16']],
  ])) {
    const { ok, log } = await run(bin(name), args, { cwd: root, env: process.env })
    console.log(`${name}: ${ok ? 'nothing to say' : 'see below'}`)
    if (!ok) problems.push(`${name} says:\n${log}`)
  }
}

/** The version has a heading, with text below it, once it is no longer the one that is worked on. */
function checkChangelog() {
  const text = readFileSync(join(root, 'CHANGELOG.md'), 'utf8')
  const heading = new RegExp(`^## ${lopt.version.replaceAll('.', '\\.')}\\b`, 'm')
  if (!heading.test(text))
    problems.push(`CHANGELOG.md has no heading for ${lopt.version}`)
}
