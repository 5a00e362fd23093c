// The figure against the number of trainable parameters, with the spread over seeds. Knows no file.

import { isShare } from '../run/index.js'
import { html, type Markup } from './html.js'
import { renderPlot, seriesColour } from './plot.js'
import { type Configuration, figureText, judgedBy } from './statistics.js'

const SHAPES = ['circle', 'square', 'diamond', 'triangle-up', 'triangle-down', 'cross']

// A phone's width and a desk's: the page shows the one that fits.
const FORMS = [
  { name: 'wide', width: 620, height: 300, columns: 6 },
  { name: 'narrow', width: 270, height: 260, columns: 2 },
] as const

/** The plot for one task; undefined where no trained configuration has a figure. */
export async function tradeOff(
  found: readonly Configuration[],
): Promise<Markup | undefined> {
  const points = found.flatMap(({ method, label, parameters = 0, figure }) =>
    figure && parameters > 0
      ? [
          {
            method,
            label,
            parameters,
            mean: figure.mean,
            low: figure.mean - (figure.deviation ?? 0),
            high: figure.mean + (figure.deviation ?? 0),
          },
        ]
      : [],
  )
  if (points.length === 0) return undefined
  const { metric, split } = judgedBy(found)
  const methods = [...new Set(points.map(({ method }) => method))]
  // They train nothing: a line each, since zero is not on a log axis.
  const lines = found.flatMap(({ method, parameters, figure }) =>
    figure && parameters === 0 ? [{ text: method, mean: figure.mean }] : [],
  )
  const x = {
    field: 'parameters',
    type: 'quantitative',
    scale: { type: 'log', nice: false, padding: 24 },
    axis: { title: 'trainable parameters (log)', tickCount: 4, format: '~s' },
  } as const
  const y = (field: string) =>
    ({
      field,
      type: 'quantitative',
      scale: { zero: false, nice: true },
      axis: {
        title: `${metric} on ${split}`,
        format: isShare(metric) ? '.0%' : '~g',
        tickCount: 6,
      },
    }) as const
  const forms = await Promise.all(
    FORMS.map(async ({ name, width, height, columns }) => {
      const plot = await renderPlot(
        {
          width,
          height,
          layer: [
            {
              data: { values: lines },
              mark: { type: 'rule', strokeDash: [4, 3], color: 'var(--muted)' },
              encoding: { y: y('mean') },
            },
            {
              data: { values: lines },
              mark: {
                type: 'text',
                align: 'right',
                dx: -4,
                dy: -5,
                fontSize: 11,
                color: 'var(--muted)',
              },
              encoding: { x: { value: width }, y: y('mean'), text: { field: 'text' } },
            },
            {
              data: { values: points },
              mark: { type: 'rule', strokeWidth: 1.5 },
              encoding: {
                x,
                y: y('low'),
                y2: { field: 'high' },
                color: colourOf(methods, columns),
              },
            },
            {
              data: { values: points },
              mark: { type: 'point', size: 70, strokeWidth: 2 },
              encoding: {
                x,
                y: y('mean'),
                color: colourOf(methods, columns),
                shape: {
                  field: 'method',
                  type: 'nominal',
                  scale: {
                    domain: methods,
                    range: methods.map((_, i) => SHAPES[i % SHAPES.length] as string),
                  },
                  legend: legend(columns),
                },
              },
            },
          ],
        },
        {
          title: `${metric} against trainable parameters`,
          description: points
            .map(
              ({ method, label, parameters, mean }) =>
                `${method} ${label}: ${parameters} parameters, ${figureText(mean, metric)}`,
            )
            .join('; '),
        },
      )
      return html`<div class="${name}">${plot}</div>`
    }),
  )
  return html`<figure>${forms}<figcaption>Each point is a configuration: its mean over seeds, with one standard deviation to both sides. Dashed lines train nothing.</figcaption></figure>`
}

function legend(columns: number) {
  return { orient: 'bottom', title: null, columns } as const
}

function colourOf(methods: readonly string[], columns: number) {
  return {
    field: 'method',
    type: 'nominal',
    scale: { domain: [...methods], range: methods.map((_, i) => seriesColour(i)) },
    legend: legend(columns),
  } as const
}
