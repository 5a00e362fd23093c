// Runs of training that the server can see: a table of them, and the curves of those that are chosen.

import { askJson } from './api.js'
import { drawChart, swatch } from './chart.js'
import { $, element, filterBy, percent, whileVisible } from './dom.js'

const READ_MS = 2000
const MOST_CHOSEN = 12
/** Chosen where nobody has chosen yet. */
const FIRST_CHOSEN = 3

/** Rows of the table by the runs' names. */
const rows = new Map()
/** Looks that are taken, by place. */
const places = new Set()
let filterRuns

export function startRuns() {
  filterRuns = filterBy($('run-filter'), () => [...$('runs').tBodies[0].rows])
  new ResizeObserver(draw).observe($('loss-chart'))
  draw()
  // the page says elsewhere when the server does not answer
  whileVisible(READ_MS, () => look().catch(() => {}))
}

async function look() {
  const { data } = await askJson('v1/runs')
  $('no-runs').hidden = data.length > 0
  const names = new Set(data.map(({ id }) => id))
  const gone = [...rows.keys()].filter((name) => !names.has(name))
  for (const name of gone) removeRow(name)
  const isFirst = rows.size === 0
  // the newest first; those that are there stay where they are
  const fresh = data.filter(({ id }) => !rows.has(id)).map(newRow)
  $('runs').tBodies[0].prepend(...fresh.map(({ element }) => element))
  if (isFirst) for (const row of fresh.slice(0, FIRST_CHOSEN)) choose(row, true)
  if (fresh.length > 0) filterRuns()
  const due = data.filter(({ id, bytes, modified }) =>
    isDue(rows.get(id), bytes, modified),
  )
  for (const run of due) await read(run)
  if (due.length > 0 || gone.length > 0) draw()
}

function isDue(row, bytes, modified) {
  if (row.place === null) return false
  return !row.run?.complete || row.bytes !== bytes || row.modified !== modified
}

async function read({ id, bytes, modified }) {
  const row = rows.get(id)
  const run = await askJson(`v1/runs/${encodeURIComponent(id)}`).catch(() => undefined)
  if (run === undefined) return
  Object.assign(row, { run, bytes, modified })
  showFigures(row)
}

function newRow(run) {
  const { id, task, method, length, rank, steps } = run
  const box = element('input', { type: 'checkbox' })
  const look = element('span', { className: 'look' })
  const name = element('th', { scope: 'row', className: 'text' })
  name.append(element('label', {}, box, look, id))
  const size = length ? `${method} ${length}${rank ? ` × ${rank}` : ''}` : (method ?? '')
  const [step, loss, best] = [String(steps ?? ''), '', ''].map((text) =>
    element('td', {}, text),
  )
  const state = element('td', { className: 'text' })
  const text = (content) => element('td', { className: 'text wide' }, content)
  const line = element(
    'tr',
    {},
    name,
    text(task ?? ''),
    text(size),
    step,
    loss,
    best,
    state,
  )
  const row = {
    id,
    element: line,
    box,
    look,
    cells: { step, loss, best, state },
    place: null,
  }
  rows.set(id, row)
  box.addEventListener('change', async () => {
    choose(row, box.checked)
    if (box.checked) await read({ id })
    draw()
  })
  return row
}

function removeRow(name) {
  choose(rows.get(name), false)
  rows.get(name).element.remove()
  rows.delete(name)
}

function choose(row, isChosen) {
  if (row.place !== null) places.delete(row.place)
  row.place = null
  if (isChosen) {
    row.place = 0
    while (places.has(row.place)) row.place += 1
    places.add(row.place)
  }
  row.box.checked = isChosen
  row.look.replaceChildren(...(isChosen ? [swatch(row.place)] : []))
  const isFull = places.size >= MOST_CHOSEN
  for (const { box } of rows.values()) box.disabled = isFull && !box.checked
}

const STATES = {
  waiting: 'not begun',
  running: 'goes on',
  done: 'done',
  failed: 'failed',
}
/** A run that writes nothing for so long is not going on. */
const QUIET_SECONDS = 120

function showFigures({ run, modified, cells }) {
  const { step, steps, loss, best, state, failure } = run
  const quiet = Date.now() / 1000 - (modified ?? Date.now() / 1000)
  cells.step.textContent = steps === null ? step : `${step} of ${steps}`
  cells.loss.textContent = loss.length > 0 ? loss.at(-1)[1].toFixed(3) : ''
  cells.best.textContent = best === null ? '' : percent(best[1])
  cells.state.textContent =
    state === 'running' && quiet > QUIET_SECONDS ? 'stands still' : STATES[state]
  cells.state.title = failure ?? ''
  cells.state.classList.toggle('bad', state === 'failed')
}

function draw() {
  const shown = [...rows.values()].filter(({ place, run }) => place !== null && run)
  const lines = (curve) => shown.map(({ run, place }) => ({ points: run[curve], place }))
  drawChart($('loss-chart'), lines('loss'), (value) => String(value))
  drawChart(
    $('dev-chart'),
    lines('dev'),
    (value) => `${Number((100 * value).toFixed(2))} %`,
  )
  const metrics = [...new Set(shown.map(({ run }) => run.metric))]
  $('dev-caption').textContent = `${metrics.join(', ') || 'figure'} on dev, by step`
  const names = shown.map(({ id }) => id).join(', ') || 'no run'
  $('loss-chart').ariaLabel = `Training loss of ${names}`
  $('dev-chart').ariaLabel = `${metrics.join(', ') || 'Figure'} on dev of ${names}`
}
