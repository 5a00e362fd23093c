// Plots where vega is not installed, as on a server: a hook of Node's stands in for the empty folder.

import { expect, test } from 'vitest'
import { bundledPrograms, fine } from '../programs.js'

const { run } = bundledPrograms(
  { plot: 'study/plot.ts' },
  "import { register } from 'node:module'\nimport { renderPlot } from './plot.mjs'\n",
)

const HOOK = `export async function resolve(name, context, next) {
  if (name !== 'vega') return next(name, context)
  throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
}`

test('without vega a plot is refused with what to install', async () => {
  const ended = await run(`
    register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(HOOK)}))
    const spec = { mark: 'point', data: { values: [] } }
    await renderPlot(spec, { title: 't', description: 'd' }).catch(({ code, message }) => {
      console.log(code, message)
    })
  `)
  expect(ended).toEqual(
    fine(
      'ERR_UNSUPPORTED Plots need the packages vega and vega-lite, which are not installed: npm install vega@6 vega-lite@6\n',
    ),
  )
})
