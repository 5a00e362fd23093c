// A report's page: what a reader sees of a set of runs. Reads and writes no file.

import { packageVersion } from '../native.js'
import { isShare } from '../run/index.js'
import { curvePanels } from './curves.js'
import { heatMaps } from './heat-map.js'
import { html, Markup } from './html.js'
import { PAGE_STYLE } from './page-style.js'
import type { Run } from './read-runs.js'
import {
  type Configuration,
  cellText,
  configurations,
  judgedBy,
  type Spread,
} from './statistics.js'
import { tradeOff } from './trade-off.js'

/** The whole page as HTML. */
export async function createPage(title: string, runs: readonly Run[]): Promise<string> {
  const tasks = [...new Set(runs.map(({ task }) => task))]
  const sections: Markup[] = []
  for (const task of tasks) {
    sections.push(
      await taskSection(
        task,
        runs.filter((run) => run.task === task),
      ),
    )
  }
  const made = `${runs.length} runs; made by lopt ${packageVersion()}`
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${new Markup(PAGE_STYLE)}</style>
</head>
<body>
<main>
<h1>${title}</h1>
<p class="muted">${made}</p>
${sections}
${withoutFigures(runs)}
${allConfigurations(runs)}
</main>
</body>
</html>
`
  return page.text
}

async function taskSection(task: string, runs: readonly Run[]): Promise<Markup> {
  const found = configurations(runs)
  const maps = await heatMaps(found)
  const losses = await curvePanels(runs, 'losses')
  const evaluations = await curvePanels(runs, 'evaluations')
  const rows = runs.find(({ testRows }) => testRows !== undefined)?.testRows
  const of = rows === undefined ? '' : ` on ${count(rows)} test rows`
  const { metric } = judgedBy(found)
  return html`<section>
<h2>${task}</h2>
<p class="muted">Judged by ${metric}${of}.</p>
${figuresTable(found)}
${await tradeOff(found)}
${maps.length > 0 ? mapsSection(maps, found) : undefined}
${panels(`On dev: ${metric}`, evaluations)}
${panels('Training loss', losses)}
${samplesSection(runs)}
</section>`
}

function panels(title: string, shown: readonly Markup[]): Markup | undefined {
  if (shown.length === 0) return undefined
  return html`<h3>${title}</h3><p class="muted">A line a run; all panels have the same axes.</p><div class="panels">${shown}</div>`
}

function mapsSection(maps: readonly Markup[], found: readonly Configuration[]): Markup {
  const shades = Array.from(
    { length: 7 },
    (_, i) => html`<i style="background:var(--heat-${i})"></i>`,
  )
  const { metric, split } = judgedBy(found)
  return html`<h3>Length and rank</h3>
<p class="muted">Mean ${metric} on ${split}${isShare(metric) ? ' in per cent' : ''}, over seeds <span class="scale" aria-hidden="true">${shades}</span> from the lowest to the highest of these maps. –: impossible; ?: no figure.</p>
<div class="maps">${maps}</div>`
}

function figuresTable(found: readonly Configuration[]): Markup {
  const { metric, split } = judgedBy(found)
  const isMacroF1 = metric === 'macro-F1'
  const isFigureOfLabels = !isMacroF1 && found.some((one) => one.macroF1 !== undefined)
  const unit = isShare(metric) ? ', %' : ''
  const rows = found.map((one) => {
    const { method, label, parameters, figure, dev, macroF1, seconds, runs } = one
    const format = (mean: number) => cellText(mean, one.metric)
    const wrong = runs.filter(({ status }) => status !== 'done')
    const states = [...new Set(wrong.map(({ status }) => status))].map((status) => {
      const times = wrong.filter((run) => run.status === status).length
      return `${times} ${status}`
    })
    return html`<tr>
<td class="text">${method}</td><td class="text">${label}</td>
<td>${parameters === undefined ? '' : count(parameters)}</td>
<td>${spreadText(figure, format)}</td>
${isFigureOfLabels ? html`<td>${spreadText(macroF1, decimals)}</td>` : undefined}
<td>${spreadText(dev, format)}</td>
<td>${figure?.count ?? 0}</td>
<td>${seconds ? seconds.mean.toFixed(0) : ''}</td>
<td class="text bad">${states.join(', ')}</td>
</tr>`
  })
  return html`<div class="scroll"><table>
<caption class="muted">Means over seeds ± their standard deviation (n − 1).</caption>
<thead><tr><th class="text">method</th><th class="text">settings</th><th>trainable</th><th>${metric} on ${split}${unit}</th>${isFigureOfLabels ? html`<th>macro-F1</th>` : undefined}<th>on dev${unit}</th><th>runs</th><th>training, s</th><th class="text">without figures</th></tr></thead>
<tbody>${rows}</tbody>
</table></div>`
}

/** What runs said to dev rows at their best step: those with the highest loss first. */
function samplesSection(runs: readonly Run[]): Markup | undefined {
  const said = runs.filter(({ samples }) => samples.length > 0)
  if (said.length === 0) return undefined
  const entries = said.map(({ name, samples }) => {
    const rows = samples.map(
      ({ text, targets, generated, loss }) =>
        html`<tr><td class="text">${text}</td><td class="text">${targets.join(' | ')}</td><td class="text">${generated}</td><td>${loss.toFixed(3)}</td></tr>`,
    )
    return html`<details><summary>${name}</summary><div class="scroll"><table>
<thead><tr><th class="text">text</th><th class="text">right</th><th class="text">generated</th><th>loss a token</th></tr></thead>
<tbody>${rows}</tbody></table></div></details>`
  })
  return html`<h3>Generated texts</h3><p class="muted">Dev rows at the best step of each run, half of them with the highest loss, which come first, half with the lowest.</p>${entries}`
}

function withoutFigures(runs: readonly Run[]): Markup | undefined {
  const shown = runs.filter(({ status }) => status !== 'done')
  if (shown.length === 0) return undefined
  const rows = shown.map(
    ({ name, status, reason }) =>
      html`<tr><td class="text">${name}</td><td class="text bad">${status}</td><td class="text">${reason}</td></tr>`,
  )
  return html`<section><h2>Runs without figures</h2><div class="scroll"><table class="reasons">
<thead><tr><th class="text">run</th><th class="text">state</th><th class="text">reason</th></tr></thead>
<tbody>${rows}</tbody></table></div></section>`
}

/** Where a run was written is no setting: a page is passed on. */
function withoutPlace(key: string, value: unknown): unknown {
  return key === 'out' ? undefined : value
}

function allConfigurations(runs: readonly Run[]): Markup {
  const entries = runs.map(
    ({ name, status, configuration }) =>
      html`<details><summary>${name}${status === 'done' ? '' : ` (${status})`}</summary><pre>${JSON.stringify(configuration, withoutPlace, 2)}</pre></details>`,
  )
  return html`<section><h2>Configurations</h2><p class="muted">Everything needed to run each again, with the versions it was run with.</p>${entries}</section>`
}

function spreadText(value: Spread | undefined, format: (x: number) => string): string {
  if (value === undefined) return ''
  const { mean, deviation } = value
  return deviation === undefined ? format(mean) : `${format(mean)} ± ${format(deviation)}`
}

const decimals = (value: number) => value.toFixed(3)
const count = (value: number) => value.toLocaleString('en-US')
