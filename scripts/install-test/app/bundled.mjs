// Bundled by esbuild and webpack with lopt left outside.

import { ones } from 'lopt/torch'

console.log(`bundled ${ones([2, 3]).shape.join()}`)
