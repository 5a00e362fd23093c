// Lines in SVG: small ones without axes, and curves over steps. Knows nothing of what they show.

const NAMESPACE = 'http://www.w3.org/2000/svg'

export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(NAMESPACE, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

/** Values from left to right, the newest at the right edge; null leaves a gap. */
export function sparkline(svg, values, places) {
  const most = Math.max(...values.map((value) => value ?? 0), 1e-9)
  const x = (i) => ((places - values.length + i) / (places - 1)) * 100
  const y = (value) => 26 - (value / most) * 24
  const path = pathOf(values, (value, i) => (value === null ? null : [x(i), y(value)]))
  svg.firstChild.setAttribute('d', path)
}

export function emptySparkline() {
  return shape(
    'svg',
    {
      class: 'spark',
      viewBox: '0 0 100 28',
      preserveAspectRatio: 'none',
      'aria-hidden': true,
    },
    shape('path', { class: 'line' }),
  )
}

/** Moves where a point has no place; a point alone is a short line, so that it is seen. */
function pathOf(points, placeOf) {
  let path = ''
  let isOpen = false
  points.forEach((point, i) => {
    const place = placeOf(point, i)
    if (place !== null) {
      const [x, y] = place.map((value) => value.toFixed(1))
      path += isOpen ? `L${x} ${y}` : `M${x} ${y}h.1`
    }
    isOpen = place !== null
  })
  return path
}

const HEIGHT = 220
const LEFT = 48
const RIGHT = 12
const TOP = 10
const BOTTOM = 24

/**
 * @param lines each with `points` of step and value, and the `place` among the page's series that gives it its look
 * @param format a value as an axis has it
 */
export function drawChart(svg, lines, format) {
  const width = Math.max(svg.clientWidth, 200)
  svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`)
  const all = lines.flatMap(({ points }) => points)
  if (all.length === 0) {
    svg.replaceChildren(tick(width / 2, HEIGHT / 2, 'middle', 'Nothing to draw yet'))
    return
  }
  const values = scaleOf(all.map(([, value]) => value))
  const [low, high] = [values[0], values.at(-1)]
  const lastStep = Math.max(...all.map(([step]) => step), 1)
  const steps = roundNumbers(0, lastStep, roundStep(lastStep, Math.floor(width / 110)))
  const x = (step) => LEFT + (step / lastStep) * (width - LEFT - RIGHT)
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM)
  svg.replaceChildren(
    ...values.map((value) => {
      const at = { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }
      return shape('line', { class: 'grid', ...at })
    }),
    ...values.map((value) => tick(LEFT - 8, y(value) + 4, 'end', format(value))),
    ...steps.map((step) => tick(x(step), HEIGHT - 6, 'middle', String(step))),
    ...lines.map(({ points, place }) => {
      const d = pathOf(points, ([step, value]) => [x(step), y(value)])
      return shape('path', { class: lookOf(place), d })
    }),
  )
}

function tick(x, y, anchor, text) {
  return shape('text', { class: 'tick', x, y, 'text-anchor': anchor }, text)
}

// Of no common factor: as many looks as their product.
const COLOURS = 7
const DASHES = 4

function lookOf(place) {
  return `line series-${place % COLOURS} dash-${place % DASHES}`
}

/** The look of a series beside its name. */
export function swatch(place) {
  return shape(
    'svg',
    { class: 'swatch', viewBox: '0 0 26 8', 'aria-hidden': true },
    shape('path', { class: lookOf(place), d: 'M0 4H26' }),
  )
}

/** Round numbers from below all values to above them. */
function scaleOf(values) {
  const low = Math.min(...values)
  const high = Math.max(...values)
  const room = low === high ? Math.abs(low) / 10 || 0.1 : 0
  const apart = roundStep(high - low + 2 * room, 4)
  const first = Math.floor((low - room) / apart) * apart
  return roundNumbers(first, Math.ceil((high + room) / apart) * apart, apart)
}

/** From `first`, itself such a number, up to `last`. */
function roundNumbers(first, last, apart) {
  // a hair more, for what sums of binary fractions lose
  const count = Math.floor((last - first) / apart + 1e-6) + 1
  return Array.from({ length: count }, (_, i) =>
    Number((first + i * apart).toPrecision(12)),
  )
}

/** The distance of round numbers of which about so many fit into a length. */
function roundStep(length, count) {
  const raw = length / Math.max(count, 1)
  const power = 10 ** Math.floor(Math.log10(raw))
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw)
}
