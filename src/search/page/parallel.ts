/**
 * Parallel coordinates: an axis per parameter and one for the result, a line per trial. On narrow screens, and with many parameters, the
 * axes lie below each other.
 */

import { plural } from '../../core/words.js'
import { at, clipped, clippedStart, drawing, sized, text } from '../../lineage/forms/page/drawing/svg.js'
import { escapeHtml } from '../../lineage/forms/page/html.js'
import { short } from '../../lineage/forms/page/numbers.js'
import type { Range } from '../../recipe/search/types.js'
import { evenCountOf, isLog, placeOf, valueAt } from '../samplers/ranges.js'
import type { SearchRecord, Trial } from '../types.js'
import { classesOf, heightOf, labelsOf, type Scale, valueText } from './shown.js'

/** Axes that fit next to each other on a wide screen. */
const MOST_BESIDE = 7
/** Values of lists and steps that each have a mark. */
const MOST_MARKS = 6
/** Lines that are drawn fainter than few, and so many that only the best are told apart. */
const [MANY, CROWD] = [150, 600]

interface Mark {
  readonly place: number
  readonly text: string
}

interface Axis {
  readonly label: string
  readonly marks: readonly Mark[]
  /** Undefined: the trial has no place on it. */
  readonly of: (trial: Trial) => number | undefined
}

/** Marks at the ends, or at every value of a few. Ends of real numbers are at 0 and 1. */
function marksOf(range: Range): Mark[] {
  const count = evenCountOf(range)
  if (count !== undefined && count <= MOST_MARKS) {
    const places = Array.from({ length: count }, (_, index) => (index + 0.5) / count)
    return places.map((place) => ({ place, text: valueText(valueAt(range, place)) }))
  }
  return [0, 1].map((end) => {
    const value = valueAt(range, end)
    return { place: placeOf(range, value), text: valueText(value) }
  })
}

function axesOf({ dimensions, trials }: SearchRecord, scale: Scale): Axis[] {
  const labels = labelsOf(dimensions)
  const parameters = dimensions.map(({ range }, i): Axis => {
    const log = isLog(range) ? ' (log)' : ''
    return { label: `${labels[i]}${log}`, marks: marksOf(range), of: ({ point }) => placeOf(range, point[i]!) }
  })
  if (trials.every(({ score }) => score === undefined)) return parameters
  const edge = scale.beyond === 0 ? '' : scale.falls ? '≥ ' : '≤ '
  const ends = [
    { place: 0, text: `${edge}${short(scale.worst)}` },
    { place: 1, text: short(scale.best) },
  ]
  return [
    ...parameters,
    {
      label: scale.name,
      marks: scale.worst === scale.best ? [{ place: 0.5, text: short(scale.best) }] : ends,
      of: (trial) => (trial.score === undefined ? undefined : heightOf(scale, trial)),
    },
  ]
}

/** The other axes, and where a place on an axis is. */
interface Layout {
  readonly height: number
  readonly at: (axis: number, place: number) => readonly [number, number]
  readonly frame: string
}

function sideBySide(axes: readonly Axis[], width: number): Layout {
  const [left, right, top, bottom, height] = [44, 58, 40, 14, 340]
  const gap = (width - left - right) / Math.max(1, axes.length - 1)
  const point = (axis: number, place: number) =>
    [left + axis * gap, height - bottom - place * (height - top - bottom)] as const
  const most = Math.max(8, Math.floor(gap / 7))
  const frame = axes.map(({ label, marks }, axis) => {
    const [x, y0] = point(axis, 0)
    const [, y1] = point(axis, 1)
    const last = axis === axes.length - 1
    const anchor = last ? 'end strong-label' : axis === 0 ? 'strong-label' : 'middle strong-label'
    const name = text(
      axis === 0 ? 4 : last ? width - 4 : x,
      axis % 2 === 0 || gap > 110 ? 24 : 10,
      clippedStart(label, most),
      anchor,
    )
    const values = marks.map((mark) =>
      text(x + 7, point(axis, mark.place)[1] + 4, clipped(mark.text, 12), 'value halo'),
    )
    return `<line class="axis" x1="${at(x)}" x2="${at(x)}" y1="${at(y0)}" y2="${at(y1)}"/>${name}${values.join('')}`
  })
  return { height, at: point, frame: frame.join('') }
}

function oneBelowTheOther(axes: readonly Axis[], width: number): Layout {
  const [side, top, step] = [14, 26, 58]
  const height = top + (axes.length - 1) * step + 26
  const point = (axis: number, place: number) => [side + place * (width - 2 * side), top + axis * step] as const
  const frame = axes.map(({ label, marks }, axis) => {
    const [x0, y] = point(axis, 0)
    const [x1] = point(axis, 1)
    const name = text(side, y - 7, clippedStart(label, Math.floor(width / 8.4)), 'strong-label halo')
    const room = Math.floor((width - 2 * side) / marks.length / 6.4)
    const values = marks.map((mark) => {
      const x = point(axis, mark.place)[0]
      const anchor = x < 50 ? '' : x > width - 50 ? ' end' : ' middle'
      return text(anchor === '' ? side : x, y + 15, clipped(mark.text, Math.max(3, room)), `value halo${anchor}`)
    })
    return `<line class="axis" x1="${at(x0)}" x2="${at(x1)}" y1="${at(y)}" y2="${at(y)}"/>${name}${values.join('')}`
  })
  return { height, at: point, frame: frame.join('') }
}

function lineOf(trial: Trial, axes: readonly Axis[], layout: Layout, className: string, title: string): string {
  const way = axes.flatMap((axis, index) => {
    const place = axis.of(trial)
    return place === undefined ? [] : [layout.at(index, place).map(at).join(' ')]
  })
  return `<path class="${className}" data-trial="${trial.index}" d="M${way.join('L')}"><title>${escapeHtml(title)}</title></path>`
}

export function parallel(record: SearchRecord, scale: Scale): string {
  const { trials, best } = record
  const axes = axesOf(record, scale)
  const classes = classesOf(trials)
  // The best on top.
  const order = [...trials].sort(
    (a, b) =>
      Number(a.index === best) - Number(b.index === best) ||
      (classes.get(a.index) ?? -1) - (classes.get(b.index) ?? -1) ||
      a.index - b.index,
  )
  const failed = trials.filter(({ state }) => state === 'failed').length
  const label = `Parallel coordinates: ${plural(trials.length, 'trial')}${failed > 0 ? `, ${failed} of them failed` : ''}, over ${axes.map((axis) => axis.label).join(', ')}. The table of trials has the same values.`
  const draw = (width: number): string => {
    const layout = axes.length <= MOST_BESIDE && width > 400 ? sideBySide(axes, width) : oneBelowTheOther(axes, width)
    const lines = order.map((trial) => {
      const own = classes.get(trial.index)
      const rank = own === undefined ? 'lost' : `q${own}`
      const title = `trial ${trial.index}: ${own === undefined ? 'failed' : `${scale.name} ${short(scale.of(trial))}`}`
      return lineOf(trial, axes, layout, `way ${rank}${trial.index === best ? ' best' : ''}`, title)
    })
    return drawing(
      width,
      layout.height,
      label,
      `<g class="ways${trials.length > CROWD ? ' crowd' : trials.length > MANY ? ' many' : ''}">${lines.join('')}</g>${layout.frame}`,
    )
  }
  return sized('large', draw)
}
