// `lopt build`: compiles an addon where no platform package fits. Parses, and leaves the rest to set-up's own steps.

import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { SetupError } from '../../scripts/setup/process.mjs'
import { setUp } from '../../scripts/setup/steps.mjs'
import { LoptError } from '../errors.js'
import { packageRoot } from '../native.js'
import { addCommand } from './options.js'

const HELP = `
It needs a C++20 compiler, CMake, and a libtorch, which it fetches with Python's pip if there is none;
LIBTORCH is the folder of another one, LOPT_TORCH_VERSION its version (docs/devices.md). The addon comes
before any package's from then on; installing lopt again removes it.

Example:
  npx lopt build && npx lopt doctor`

export function addBuild(program: Command): void {
  const command = addCommand(program, 'build', {
    description:
      'Compiles the addon here: for CUDA, or where there is no package for it.',
    help: HELP,
    options: {},
  })
  command.action(async () => {
    const root = packageRoot(dirname(fileURLToPath(import.meta.url)))
    try {
      await setUp(root, process.env, 'native')
    } catch (error) {
      if (!(error instanceof SetupError)) throw error
      throw new LoptError('ERR_ADDON_LOAD', error.message, { cause: error })
    }
  })
}
