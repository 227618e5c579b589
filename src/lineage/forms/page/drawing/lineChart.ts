/** A chart of lines over one axis: metrics along a path, parameters by layer. */
import { escapeHtml } from '../html.js'
import { short } from '../numbers.js'
import { at, drawing, type Size, sized, text, ticks } from './svg.js'

export interface Line {
  readonly label: string
  readonly colour: number
  readonly points: readonly { readonly x: number; readonly y: number }[]
  /** Drawn with dashes and without marks, such as a straight line to compare with. */
  readonly dashed?: boolean
}

export interface Chart {
  readonly label: string
  readonly axis: string
  readonly lines: readonly Line[]
  /** Only integers are ticks. */
  readonly integers?: boolean
  /** A vertical mark from one height to another, with its text. */
  readonly rise?: { readonly x: number; readonly from: number; readonly to: number; readonly label: string }
  /** A point with a ring around it. */
  readonly here?: { readonly x: number; readonly y: number }
}

/** Marks of points that are drawn per line; more would cover each other. */
const MOST_MARKS = 48

/** A range with some room; a constant has room on both sides. */
function rangeOf(values: readonly number[]): [number, number] {
  // Not spread into a call: there can be very many.
  const low = values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY)
  const high = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY)
  if (!Number.isFinite(high - low)) return [-1, 1]
  if (high > low) return [low, high]
  const room = Math.abs(low) * 0.1 || 1
  return [low - room, high + room]
}

export const lineChart = (chart: Chart, size: Size): string => sized(size, (width) => drawChart(chart, width))

function drawChart({ label, axis, lines, integers, rise, here }: Chart, width: number): string {
  const [left, right, top, bottom] = [52, 12, 12, 34]
  const height = width > 400 ? 240 : 210
  const all = lines.flatMap(({ points }) => points)
  const [x0, x1] = rangeOf(all.map(({ x }) => x))
  const [y0, y1] = rangeOf(all.map(({ y }) => y))
  const px = (x: number): number => left + ((x - x0) / (x1 - x0)) * (width - left - right)
  const py = (y: number): number => top + ((y1 - y) / (y1 - y0)) * (height - top - bottom)
  const grid = ticks(y0, y1, 5).map(
    (y) =>
      `<line class="grid" x1="${left}" x2="${width - right}" y1="${at(py(y))}" y2="${at(py(y))}"/>${text(left - 6, py(y) + 4, short(y), 'end')}`,
  )
  const below = ticks(x0, x1, width > 400 ? 10 : 5)
    .filter((x) => !integers || Number.isInteger(x))
    .map((x) => text(px(x), height - bottom + 16, short(x), 'middle'))
  const drawn = lines.map(({ label, colour, points, dashed }) => {
    const way = points.map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${at(px(x))} ${at(py(y))}`).join('')
    const marks = dashed || points.length > MOST_MARKS ? [] : points
    const dots = marks.map(
      ({ x, y }) =>
        `<circle class="fill c${colour}" cx="${at(px(x))}" cy="${at(py(y))}" r="3.5"><title>${escapeHtml(`${label}, ${axis} ${short(x)}: ${short(y)}`)}</title></circle>`,
    )
    return `<path class="curve c${colour}${dashed ? ' dashed' : ''}" d="${way}"/>${dots.join('')}`
  })
  const height0 =
    rise &&
    `<line class="rise" x1="${at(px(rise.x))}" x2="${at(px(rise.x))}" y1="${at(py(rise.from))}" y2="${at(py(rise.to))}"/>`
  const beside = rise && px(rise.x) > width / 2
  const risen =
    rise &&
    height0 +
      text(
        px(rise.x) + (beside ? -8 : 8),
        (py(rise.from) + py(rise.to)) / 2 + 4,
        rise.label,
        beside ? 'end strong halo' : 'strong halo',
      )
  const ring = here ? `<circle class="here" cx="${at(px(here.x))}" cy="${at(py(here.y))}" r="8"/>` : ''
  const name = text((left + width - right) / 2, height - 3, axis, 'middle')
  return drawing(width, height, label, grid.join('') + below.join('') + drawn.join('') + (risen ?? '') + ring + name)
}

/** Names of lines with their colours, as markup. */
export const legend = (lines: readonly Pick<Line, 'label' | 'colour'>[]): string =>
  `<p class="legend">${lines.map(({ label, colour }) => `<span class="key c${colour}">${escapeHtml(label)}</span>`).join(' ')}</p>`
