// @ts-check
// Bundlers that leave lopt outside what they make: esbuild, webpack, and the server that Next.js makes.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fetched, npmWorld } from '../projects.mjs'

/** @typedef {import('../projects.mjs').Place} Place */

/** @param {Place} place */
export async function bundles(place) {
  const { root, report } = place
  const world = await npmWorld(place, 'bundles')
  const esbuild = join(root, 'node_modules/esbuild/bin/esbuild')
  const outside = ['--bundle', '--platform=node', '--external:lopt', '--external:lopt/*']
  for (const format of ['esm', 'cjs']) {
    const file = `esbuild.${format === 'esm' ? 'mjs' : 'cjs'}`
    await world.run(esbuild, [
      'bundled.mjs',
      ...outside,
      `--format=${format}`,
      `--outfile=${file}`,
    ])
    report.check(
      `esbuild, ${format}`,
      await world.run('node', [file], { isOffline: true }),
      /^bundled 2,3$/,
    )
  }
  const webpack = fetched(place, 'webpack@5', 'lib/index.js')
  writeFileSync(join(world.folder, 'webpack.cjs'), webpackProgram(webpack))
  await world.run('node', ['webpack.cjs'])
  report.check(
    'webpack',
    await world.run('node', ['webpacked.cjs'], { isOffline: true }),
    /^bundled 2,3$/,
  )
  await next(place)
}

/** @param {Place} place */
async function next(place) {
  const { report } = place
  const world = await npmWorld(place, 'next', ['next@16', 'react@19', 'react-dom@19'])
  const env = { NEXT_TELEMETRY_DISABLED: '1' }
  const cwd = join(world.folder, 'next')
  const program = '../node_modules/next/dist/bin/next'
  // Turbopack unless it is told otherwise
  for (const bundler of ['turbopack', 'webpack']) {
    const built = await world.run('node', [program, 'build', `--${bundler}`], {
      env,
      cwd,
    })
    report.check(`Next.js, ${bundler}: build`, built, /\/api$/m)
    report.check(
      `Next.js, ${bundler}: a route`,
      await world.run('node', ['ask.mjs'], { env, cwd, isOffline: true }),
      /^bundled 2,3$/,
    )
  }
}

/** @param {string} webpack */
function webpackProgram(webpack) {
  return `require(${JSON.stringify(webpack)})({
  entry: './bundled.mjs', target: 'node', mode: 'production', externals: /^lopt/, externalsType: 'commonjs',
  output: { path: __dirname, filename: 'webpacked.cjs' },
}, (error, stats) => { if (error || stats.hasErrors()) { console.log(error ?? stats.toString()); process.exit(1) } })`
}
