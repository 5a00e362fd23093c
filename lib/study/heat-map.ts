// Length against rank, a map for each method: the ablation of LoPT's paper. Knows no file.

import { isLessBetter } from '../run/index.js'
import { html, type Markup } from './html.js'
import { renderPlot } from './plot.js'
import { type Configuration, cellText, judgedBy } from './statistics.js'

/** How many shades the page has. */
const SHADES = 7

interface MapCell {
  readonly length: number
  readonly rank: number
  readonly mean: number | undefined
  readonly text: string
}

/** A map for every method that was run with several lengths and ranks. */
export async function heatMaps(found: readonly Configuration[]): Promise<Markup[]> {
  const methods = [...new Set(found.map(({ method }) => method))]
  const maps = methods
    .map((method) => ({
      method,
      cells: cellsOf(found.filter((one) => one.method === method)),
    }))
    .filter(({ cells }) => {
      const several = (of: (cell: MapCell) => number) => new Set(cells.map(of)).size > 1
      return several(({ length }) => length) && several(({ rank }) => rank)
    })
  const means = maps.flatMap(({ cells }) => cells.flatMap(({ mean }) => mean ?? []))
  if (means.length === 0) return []
  const low = Math.min(...means)
  const high = Math.max(...means)
  const shade = (mean: number) =>
    Math.min(SHADES - 1, Math.floor((SHADES * (mean - low)) / (high - low || 1)))
  const { metric } = judgedBy(found)
  return await Promise.all(
    maps.map(async ({ method, cells }) => {
      const values = cells.map((cell) => ({
        ...cell,
        fill: cell.mean === undefined ? 'var(--none)' : `var(--heat-${shade(cell.mean)})`,
        ink:
          cell.mean === undefined
            ? 'var(--muted)'
            : `var(--heat-ink-${shade(cell.mean)})`,
      }))
      const axes = {
        x: {
          field: 'rank',
          type: 'ordinal',
          axis: { title: 'rank R', labelAngle: 0, ticks: false, domain: false },
        },
        y: {
          field: 'length',
          type: 'ordinal',
          sort: 'descending',
          axis: { title: 'length P', ticks: false, domain: false },
        },
      } as const
      const plot = await renderPlot(
        {
          width: { step: 48 },
          height: { step: 34 },
          data: { values },
          layer: [
            {
              mark: { type: 'rect', stroke: 'var(--page)', strokeWidth: 2 },
              encoding: {
                ...axes,
                color: { field: 'fill', type: 'nominal', scale: null },
              },
            },
            {
              mark: { type: 'text', fontSize: 12 },
              encoding: {
                ...axes,
                text: { field: 'text' },
                color: { field: 'ink', type: 'nominal', scale: null },
              },
            },
          ],
        },
        {
          title: `${method}: ${metric} by length and rank`,
          description: cells
            .map(({ length, rank, text }) => `P ${length}, R ${rank}: ${text}`)
            .join('; '),
        },
      )
      return html`<figure class="panel"><figcaption>${method}</figcaption>${plot}</figure>`
    }),
  )
}

function cellsOf(found: readonly Configuration[]): MapCell[] {
  const cells = new Map<string, MapCell & { dev: number }>()
  for (const { settings, figure, dev, runs, metric } of found) {
    const { length, rank } = settings
    if (length === undefined || rank === undefined) continue
    const key = `${length}/${rank}`
    const mean = dev?.mean ?? figure?.mean
    const sign = isLessBetter(metric) ? -1 : 1
    const score = mean === undefined ? Number.NEGATIVE_INFINITY : sign * mean
    // Where learning rates were tried, the one that dev chooses counts.
    const held = cells.get(key)
    if (held && held.dev >= score) continue
    const impossible = runs.every(({ status }) => status === 'impossible')
    const text = figure ? cellText(figure.mean, metric) : impossible ? '–' : '?'
    cells.set(key, { length, rank, mean: figure?.mean, text, dev: score })
  }
  return [...cells.values()].map(({ dev: _dev, ...cell }) => cell)
}
