// @ts-check
// Fetches libtorch as pip's torch wheel (a zip archive that holds all of libtorch) into the cache.
// Knows where it goes, not who uses it.

import { createHash } from 'node:crypto'
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { cacheFolder, requireLibraries, versionOf, wantedVersion } from './libtorch.mjs'
import { output, run, SetupError, say, tail } from './process.mjs'
import { probePip, pythonWithPip } from './tools.mjs'

/** SHA-256 of wheels that were really hashed. pip checks the others by its index's own hash. */
const KNOWN_WHEELS = new Map([
  [
    'torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl',
    '6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b',
  ],
])

/** Of the wheel only libtorch, and its licences: its Python files are of no use without Python. */
const EXTRACT = `
import sys, zipfile
wheel, target = sys.argv[1:]
parts = ('torch/lib/', 'torch/include/', 'torch/share/', 'torch/.dylibs/', 'torch.libs/')
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(target, [name for name in archive.namelist()
                                if name.startswith(parts) or name == 'torch/version.py'])
    for info in archive.infolist():
        folder, found, rest = info.filename.partition('.dist-info/licenses/')
        if found and rest and '/' not in folder:
            info.filename = 'torch/licenses/' + rest
            archive.extract(info, target)
`

/**
 * Downloads the wheel and extracts libtorch into the cache folder, whole or not at all.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string>} the folder
 */
export async function fetchLibtorch(env) {
  const version = wantedVersion(env)
  const python = pythonWithPip(env)
  if (!python) {
    const { detail, fix } = probePip(env)
    throw new SetupError(`libtorch ${version} must be fetched, and ${detail}`, fix)
  }
  const root = cacheFolder(env)
  mkdirSync(root, { recursive: true })
  // beside its final place: a rename does not cross file systems
  const temporary = mkdtempSync(join(root, 'incomplete-'))
  const stop = () => {
    rmSync(temporary, { recursive: true, force: true })
    process.exit(130)
  }
  process.once('SIGINT', stop).once('SIGTERM', stop)
  try {
    const wheel = await download(python.program, version, temporary, env)
    await verify(wheel)
    say('extracting libtorch')
    if (
      output(python.program, ['-c', EXTRACT, wheel, temporary], {
        env,
        timeoutMs: 600_000,
      }) === null
    )
      throw new SetupError(
        `${wheel} could not be extracted into ${temporary}`,
        'see that the disk has 1 GB free',
      )
    const extracted = join(temporary, 'torch')
    if (versionOf(extracted) !== version)
      throw new SetupError(`${wheel} holds no libtorch ${version}`)
    // before it is kept: a copy that cannot be used would hide one that Python brings
    requireLibraries({ folder: extracted, version, origin: 'the torch wheel' })
    const folder = join(root, `libtorch-${version}-${flavour(extracted)}`)
    place(extracted, folder, version)
    return folder
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
    rmSync(temporary, { recursive: true, force: true })
  }
}

/**
 * @param {string} extracted
 * @param {string} folder
 * @param {string} version
 */
function place(extracted, folder, version) {
  // a folder that is not usable is what a hand has left there; a usable one another set-up has made
  if (existsSync(folder) && versionOf(folder) !== version)
    rmSync(folder, { recursive: true, force: true })
  try {
    renameSync(extracted, folder)
  } catch (error) {
    if (versionOf(folder) !== version) throw error
  }
}

/**
 * @param {string} python
 * @param {string} version
 * @param {string} folder
 * @param {NodeJS.ProcessEnv} env
 */
async function download(python, version, folder, env) {
  const base = [
    '-m',
    'pip',
    'download',
    '--no-deps',
    '--retries',
    '0',
    '--only-binary=:all:',
    '-d',
    folder,
  ]
  const attempts = [
    // only some indexes have the CPU flavour by name; the plain name can be a CUDA build
    ...(process.platform === 'linux' ? [[`torch==${version}+cpu`]] : []),
    [`torch==${version}`],
    // this Python may be one that torch has no wheel for; which Python does not matter to libtorch
    ['--python-version', '3.12', `torch==${version}`],
  ]
  let log = ''
  for (const attempt of attempts) {
    say(`fetching ${attempt.at(-1)} with pip (about 200 MB for the CPU flavour)`)
    const result = await run(python, [...base, ...attempt], { env })
    const wheel = readdirSync(folder).find((name) => name.endsWith('.whl'))
    if (result.ok && wheel) return join(folder, wheel)
    log = result.log
  }
  throw new SetupError(
    `pip could not fetch torch ${version}; set LIBTORCH to a libtorch folder instead. pip says:\n${tail(log, 6)}`,
  )
}

/** @param {string} wheel */
async function verify(wheel) {
  const name = wheel.slice(wheel.lastIndexOf('/') + 1)
  const known = KNOWN_WHEELS.get(name)
  if (!known) return
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(wheel)) hash.update(chunk)
  const found = hash.digest('hex')
  if (found !== known)
    throw new SetupError(
      `${name} has SHA-256 ${found} but ${known} is known`,
      'it was not used; set LIBTORCH to a libtorch folder that you trust',
    )
}

/**
 * `cpu`, or CUDA's version such as `cu130`, from the wheel's own version file.
 *
 * @param {string} folder
 */
function flavour(folder) {
  const path = join(folder, 'version.py')
  const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
  const cuda = /^cuda\b.*= '([\d.]+)'/m.exec(text)?.[1]
  return cuda ? `cu${cuda.replace(/\./g, '')}` : 'cpu'
}
