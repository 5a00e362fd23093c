// Loss and dev curves of many runs as small panels: a method each, split by the setting that varies
// next to the one that colours tell apart. Knows no file.

import { isShare } from '../run/index.js'
import { html, type Markup } from './html.js'
import { renderPlot, seriesColour } from './plot.js'
import type { Point, Run } from './read-runs.js'
import type { SettingName } from './settings.js'
import { varyingSettings } from './statistics.js'

// Enough for a curve of this width.
const MOST_POINTS = 60

interface Panel {
  readonly title: string
  readonly runs: readonly Run[]
  /** What colours stand for; undefined: there is one colour. */
  readonly colours: { name: SettingName; values: readonly string[] } | undefined
}

/** Panels of the losses, then of the dev figure; empty where there is nothing to draw. */
export async function curvePanels(
  runs: readonly Run[],
  kind: 'losses' | 'evaluations',
): Promise<Markup[]> {
  const drawn = runs.filter((run) => run[kind].length > 1)
  const lines = new Map(drawn.map((run) => [run, thinned(run[kind])]))
  const all = [...lines.values()].flat()
  if (all.length === 0) return []
  const isLoss = kind === 'losses'
  const isPlain = isLoss || !isShare(drawn[0]?.metric ?? '')
  const values = all.map(({ value }) => value)
  const domain = {
    x: [0, Math.max(...all.map(({ step }) => step))],
    y: [isLoss ? Math.min(0, ...values) : Math.min(...values), Math.max(...values)],
  }
  const what = isLoss ? 'training loss' : `${drawn[0]?.metric} on dev`
  return await Promise.all(
    panelsOf(drawn).map(async ({ title, runs: shown, colours }) => {
      const data = shown.flatMap((run) => {
        const value = colours && String(run.settings[colours.name])
        const colour = seriesColour(colours ? colours.values.indexOf(value as string) : 0)
        return (lines.get(run) ?? []).map((point) => ({
          ...point,
          run: run.name,
          colour,
        }))
      })
      const plot = await renderPlot(
        {
          width: 230,
          height: 150,
          data: { values: data },
          mark: { type: 'line', strokeWidth: 1.5, opacity: 0.85 },
          encoding: {
            x: {
              field: 'step',
              type: 'quantitative',
              scale: { domain: domain.x, nice: false },
              axis: { title: 'step', tickCount: 4, grid: false },
            },
            y: {
              field: 'value',
              type: 'quantitative',
              scale: { domain: domain.y, zero: false, nice: true },
              axis: { title: null, tickCount: 5, ...(isPlain ? {} : { format: '.0%' }) },
            },
            color: { field: 'colour', type: 'nominal', scale: null },
            detail: { field: 'run', type: 'nominal' },
          },
        },
        {
          title: `${what}: ${title}`,
          description: `A line for each of ${shown.length} runs, over ${domain.x[1]} steps.`,
        },
      )
      return html`<figure class="panel"><figcaption>${title}${colours && key(colours)}</figcaption>${plot}</figure>`
    }),
  )
}

const NAMES: Readonly<Partial<Record<SettingName, string>>> = {
  length: 'P',
  rank: 'R',
  learningRate: 'lr',
}

function panelsOf(runs: readonly Run[]): Panel[] {
  const methods = [...new Set(runs.map(({ method }) => method))]
  return methods.flatMap((method): Panel[] => {
    const own = runs.filter((run) => run.method === method)
    const byCount = varyingSettings(own)
      .map((name) => ({ name, values: valuesOf(own, name) }))
      .sort((a, b) => b.values.length - a.values.length)
    const [colours, split] = byCount
    if (split === undefined) return [{ title: method, runs: own, colours }]
    return split.values.map((value) => ({
      title: `${method}, ${NAMES[split.name] ?? split.name} ${value}`,
      runs: own.filter(({ settings }) => String(settings[split.name]) === value),
      colours,
    }))
  })
}

function valuesOf(runs: readonly Run[], name: SettingName): string[] {
  const values = new Set(runs.map(({ settings }) => String(settings[name])))
  return [...values].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
}

function key({ name, values }: NonNullable<Panel['colours']>): Markup {
  const entries = values.map(
    (value, i) =>
      html`<span class="key"><i style="background:${seriesColour(i)}"></i>${value}</span>`,
  )
  return html`<span class="keys"> · ${NAMES[name] ?? name} ${entries}</span>`
}

/** Means of equal stretches where there are more points than can be told apart. */
function thinned(points: readonly Point[]): Point[] {
  const stretch = Math.ceil(points.length / MOST_POINTS)
  if (stretch === 1) return [...points]
  return Array.from({ length: Math.ceil(points.length / stretch) }, (_, i) => {
    const part = points.slice(i * stretch, (i + 1) * stretch)
    const mean = part.reduce((sum, { value }) => sum + value, 0) / part.length
    return { step: part.at(-1)?.step as number, value: mean }
  })
}
