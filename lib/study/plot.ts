// A Vega-Lite plot as inline SVG, made without a browser. Its colours are the page's CSS variables, so
// that it is readable in light and dark. Knows no run.

import { createHash } from 'node:crypto'
import type { TopLevelSpec } from 'vega-lite'
import { LoptError } from '../errors.js'
import { html, Markup } from './html.js'

export interface PlotText {
  /** What the plot is. */
  readonly title: string
  /** What it shows, for those who cannot see it. */
  readonly description: string
}

/** How many colours the page has for series. */
const SERIES = 12

/** The colour of the i-th series. */
export function seriesColour(i: number): string {
  return `var(--series-${i % SERIES})`
}

const config = {
  background: 'transparent',
  font: 'system-ui, sans-serif',
  aria: false,
  view: { stroke: 'var(--rule)' },
  axis: {
    domainColor: 'var(--rule)',
    gridColor: 'var(--grid)',
    tickColor: 'var(--rule)',
    labelColor: 'var(--muted)',
    titleColor: 'var(--muted)',
    labelFontSize: 11,
    titleFontSize: 11,
    titleFontWeight: 'normal',
  },
  legend: {
    labelColor: 'var(--text)',
    titleColor: 'var(--muted)',
    labelFontSize: 12,
    symbolSize: 80,
    symbolStrokeWidth: 2,
  },
  text: { color: 'var(--text)', font: 'system-ui, sans-serif' },
} as const

/**
 * Only who makes a report pays for loading them, and for installing them: 18 MB that a server has no use for. They are ES
 * modules alone.
 */
async function loadVega() {
  try {
    const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')])
    return { vega, compile }
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    if (code !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw new LoptError(
      'ERR_UNSUPPORTED',
      'Plots need the packages vega and vega-lite, which are not installed: npm install vega@6 vega-lite@6',
      { cause },
    )
  }
}

/** @returns an `<svg>` element with title and description */
export async function renderPlot(
  spec: TopLevelSpec,
  { title, description }: PlotText,
): Promise<Markup> {
  const { vega, compile } = await loadVega()
  const compiled = compile({ ...spec, config } as TopLevelSpec).spec
  const view = new vega.View(vega.parse(compiled), { renderer: 'none' })
  const svg = await view.toSVG()
  view.finalize()
  // of what is shown, so that the same runs give the same page
  const digest = createHash('sha256').update(title).update(svg).digest('hex')
  const id = `plot-${digest.slice(0, 12)}`
  const [, width, height] = /width="([\d.]+)" height="([\d.]+)"/.exec(svg) ?? []
  const inside = svg.slice(svg.indexOf('>') + 1)
  return html`<svg class="plot" xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="${id}-title ${id}-text" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"><title id="${id}-title">${title}</title><desc id="${id}-text">${description}</desc>${new Markup(inside)}`
}
