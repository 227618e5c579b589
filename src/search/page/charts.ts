/** The result by trial, and by the value of each parameter. */

import { at, clipped, drawing, NARROW, sized, text, ticks } from '../../lineage/forms/page/drawing/svg.js'
import { escapeHtml } from '../../lineage/forms/page/html.js'
import { short } from '../../lineage/forms/page/numbers.js'
import type { Dimension } from '../../recipe/search/types.js'
import { doneOf } from '../done.js'
import { evenCountOf, isLog, placeOf, valueAt } from '../samplers/ranges.js'
import type { SearchRecord, Trial } from '../types.js'
import { heightOf, type Scale, valueText } from './shown.js'

/** Dots that are drawn smaller than few. */
const CROWD = 600

/** Dots as one path: lines of no length with round ends. */
const dots = (className: string, points: readonly (readonly [number, number])[]): string =>
  points.length === 0
    ? ''
    : `<path class="${className}${points.length > CROWD ? ' crowd' : ''}" d="${points.map(([x, y]) => `M${at(x)} ${at(y)}h0`).join('')}"/>`

/** Trials that were the best when they were made. */
function recordsOf(trials: readonly Trial[]): Trial[] {
  let most = Number.NEGATIVE_INFINITY
  return doneOf(trials).filter(({ score }) => {
    const better = score > most
    if (better) most = score
    return better
  })
}

interface Frame {
  readonly py: (height: number) => number
  readonly lines: string
}

/** Heights of results from top to bottom, with lines at round numbers. The better end is above, or below if less is better. */
function frameOf(
  scale: Scale,
  [left, right, top, bottom]: readonly [number, number, number, number],
  most: number,
): Frame {
  const py = (height: number): number => {
    const up = scale.falls ? 1 - height : height
    return bottom - up * (bottom - top)
  }
  const [low, high] = [Math.min(scale.worst, scale.best), Math.max(scale.worst, scale.best)]
  const marks = low === high ? [low] : ticks(low, high, most)
  const lines = marks.map((value) => {
    const y = py(low === high ? 0.5 : (value - scale.worst) / (scale.best - scale.worst))
    return `<line class="grid" x1="${left}" x2="${right}" y1="${at(y)}" y2="${at(y)}"/>${text(left - 6, y + 4, short(value), 'end')}`
  })
  return { py, lines: lines.join('') }
}

export function convergence(record: SearchRecord, scale: Scale): string {
  const { trials } = record
  const done = doneOf(trials)
  const found = recordsOf(trials)
  const last = found.at(-1)
  const label = `${scale.name} by trial. ${last ? `The best is ${short(scale.of(last))}, of trial ${last.index}.` : 'No trial succeeded.'}`
  const draw = (width: number): string => {
    const [left, right, top, height] = [58, 12, 12, width > 400 ? 270 : 230]
    const bottom = height - 36
    const count = Math.max(2, trials.length)
    const px = (index: number): number => left + 6 + (index / (count - 1)) * (width - left - right - 12)
    const { py, lines } = frameOf(scale, [left, width - right, top + 6, bottom - 8], 5)
    const y = (trial: Trial): number => py(heightOf(scale, trial))
    const below = ticks(0, count - 1, width > 400 ? 10 : 5)
      .filter((value) => Number.isInteger(value) && value < trials.length)
      .map((value) => text(px(value), bottom + 16, String(value), 'middle'))
    const steps = found.map(
      (trial, index) =>
        `${index === 0 ? `M${at(px(trial.index))} ${at(y(trial))}` : `H${at(px(trial.index))}V${at(y(trial))}`}`,
    )
    const end = steps.length > 0 ? `H${at(px(trials.length - 1))}` : ''
    const crosses = trials
      .filter(({ state }) => state === 'failed')
      .map(({ index }) => `M${at(px(index) - 3)} ${at(bottom - 3)}l6 6m0 -6l-6 6`)
    return drawing(
      width,
      height,
      label,
      `${lines}${below.join('')}${dots(
        'dot',
        done.map((trial) => [px(trial.index), y(trial)]),
      )}` +
        `<path class="curve c5" d="${steps.join('')}${end}"/>${dots(
          'dot record',
          found.map((trial) => [px(trial.index), y(trial)]),
        )}` +
        (crosses.length > 0 ? `<path class="cross" d="${crosses.join('')}"/>` : '') +
        text((left + width - right) / 2, height - 3, 'trial', 'middle'),
    )
  }
  return sized('large', draw)
}

/** Results over the values of one parameter. */
export function slice(
  { trials, best }: SearchRecord,
  { range }: Dimension,
  index: number,
  label: string,
  scale: Scale,
): string {
  const [left, right, top, height] = [58, 12, 10, 190]
  const bottom = height - 34
  const px = (place: number): number => left + 6 + place * (NARROW - left - right - 12)
  const { py, lines } = frameOf(scale, [left, NARROW - right, top + 6, bottom - 6], 4)
  const done = doneOf(trials)
  const point = (trial: Trial): readonly [number, number] => [
    px(placeOf(range, trial.point[index]!)),
    py(heightOf(scale, trial)),
  ]
  const count = evenCountOf(range)
  const few = count !== undefined && count <= 4
  const marks = few ? Array.from({ length: count }, (_, one) => (one + 0.5) / count) : [0, 1]
  const values = marks.map((place, one) => {
    const anchor = few ? 'middle' : one === 0 ? 'small' : 'end'
    return text(
      few ? px(place) : one === 0 ? left : NARROW - right,
      bottom + 16,
      clipped(valueText(valueAt(range, place)), few ? Math.floor(40 / count) : 20),
      anchor,
    )
  })
  const log = isLog(range) ? ', log' : ''
  const chosen = done.filter((trial) => trial.index === best)
  const inside = `${lines}${values.join('')}${dots('dot', done.map(point))}${dots('dot record', chosen.map(point))}`
  const name = `${scale.name} by ${label}`
  return `<figure><figcaption><b>${escapeHtml(label)}</b><span class="soft">${log}</span></figcaption><div class="small-drawing">${drawing(NARROW, height - 12, name, inside)}</div></figure>`
}
