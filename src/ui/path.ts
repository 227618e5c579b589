/** The figures of `evaluate` commands along an interpolation, as small plots for people. */

import { counted } from '../core/words.js'
import { barrier, drop, type Lineage, measuredPaths, type Series } from '../index.js'
import { printable } from './text.js'

const MOST_FIGURES = 2

const HEIGHT = 8
const NARROWEST_PLOT = 8
const WIDEST_PLOT = 72
const number = (value: number): string => String(Number(value.toPrecision(4)))

/** A scatter plot as lines of text, with values on the left and t below. `width`: at most so many columns. */
export function plot({ points }: Series, width: number): string[] {
  const values = points.map(({ value }) => value)
  const [least, most] = [Math.min(...values), Math.max(...values)]
  const [first, last] = [points[0]!.t, points.at(-1)!.t]
  const labels = [most, (least + most) / 2, least].map(number)
  const margin = Math.max(...labels.map((label) => label.length))
  const columns = Math.max(NARROWEST_PLOT, Math.min(WIDEST_PLOT, width - margin - 3))
  const rows = Array.from({ length: HEIGHT }, () => Array.from({ length: columns }, () => ' '))
  // Halved first, because the difference of two finite numbers can overflow.
  const share = (value: number, from: number, to: number): number =>
    to > from ? (value / 2 - from / 2) / (to / 2 - from / 2) : 0.5
  for (const { t, value } of points) {
    const row = Math.round((1 - share(value, least, most)) * (HEIGHT - 1))
    rows[row]![Math.round(share(t, first, last) * (columns - 1))] = '*'
  }
  const label = (row: number): string => (row === 0 ? labels[0]! : row === HEIGHT - 1 ? labels[2]! : '')
  const [left, right] = [`t = ${number(first)}`, number(last)]
  return [
    ...rows.map((marks, row) => `${label(row).padStart(margin)} | ${marks.join('')}`.trimEnd()),
    `${' '.repeat(margin)} +${'-'.repeat(columns + 1)}`,
    `${' '.repeat(margin + 3)}${left}${right.padStart(columns - left.length)}`,
  ]
}

/** Plots and barriers of all interpolations of a run; empty if none was evaluated. */
export function pathText(lineages: readonly Lineage[], width: number): string {
  const parts: string[] = []
  const heights = new Map<string, string[]>()
  for (const [step, series] of measuredPaths(lineages)) {
    for (const one of series.slice(0, MOST_FIGURES)) {
      if (one.points.length < 2) continue
      parts.push([`${printable(one.figure)} along ${printable(step)}`, ...plot(one, width)].join('\n'))
    }
    const barriers = series.flatMap((one) => {
      const above = barrier(one)
      const [kind, found] = above ? ['barrier', above] : ['drop', drop(one)]
      if (!found) return []
      const where = found.height > 0 ? ` at t = ${number(found.t)}` : ''
      const key = `${kind}s of ${printable(one.figure)}`
      heights.set(key, [...(heights.get(key) ?? []), `${number(found.height)} along ${printable(step)}`])
      return [`${kind} of ${printable(one.figure)}: ${number(found.height)}${where}`]
    })
    const more = series.length - MOST_FIGURES
    if (more > 0) barriers.push(`${counted(more, 'more metric')} in the lineage files`)
    if (barriers.length > 0) parts.push(barriers.join('\n'))
  }
  // Several paths, often before and after an alignment: one line to compare them.
  const several = [...heights].filter(([, along]) => along.length > 1)
  const lines = several.map(([figure, along]) => `${figure}: ${along.join(', ')}`)
  if (lines.length > 0) parts.push(lines.join('\n'))
  return parts.join('\n\n')
}
