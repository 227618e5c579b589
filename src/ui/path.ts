/** The figures of `evaluate` commands along an interpolation, as small plots for people. */

import { counted } from '../core/words.js'
import type { Lineage } from '../index.js'
import { printable } from './text.js'

/** The values of one figure along a path, in order of t. */
export interface Series {
  readonly figure: string
  readonly points: readonly { readonly t: number; readonly value: number }[]
}

/** Figures with these names are shown first. */
const FIRST = [/loss/i, /acc/i]
const MOST_FIGURES = 2
const isLoss = (figure: string): boolean => /loss|perplexity|error/i.test(figure)

/** The series of each interpolation, by its step, the most important ones first. */
function seriesOf(lineages: readonly Lineage[]): Map<string, Series[]> {
  const paths = new Map<string, Lineage[]>()
  for (const lineage of lineages)
    if (lineage.output.point && lineage.evaluations)
      paths.set(lineage.output.from, [...(paths.get(lineage.output.from) ?? []), lineage])
  const rank = (figure: string): number => {
    const place = FIRST.findIndex((pattern) => pattern.test(figure))
    return place < 0 ? FIRST.length : place
  }
  return new Map(
    [...paths].map(([step, points]) => {
      const sorted = [...points].sort((a, b) => a.output.point!.t - b.output.point!.t)
      const figures = [...new Set(sorted.flatMap(({ evaluations }) => Object.keys(evaluations!).sort()))]
      const series = figures
        .sort((a, b) => rank(a) - rank(b))
        .map((figure) => ({
          figure,
          points: sorted.flatMap(({ output, evaluations }) => {
            const value = evaluations![figure]
            return value === undefined ? [] : [{ t: output.point!.t, value }]
          }),
        }))
      return [step, series]
    }),
  )
}

/**
 * The barrier of a loss as in Git Re-Basin (arXiv 2209.04836): its largest height above the straight line between the losses of
 * the ends, t = 0 and t = 1. Undefined without both ends.
 */
export function barrier({ points }: Series): { readonly height: number; readonly t: number } | undefined {
  const [from, to] = [0, 1].map((end) => points.find(({ t }) => t === end)?.value)
  if (from === undefined || to === undefined) return undefined
  let highest = { height: 0, t: 0 }
  for (const { t, value } of points) {
    const height = value - ((1 - t) * from + t * to)
    if (t >= 0 && t <= 1 && height > highest.height) highest = { height, t }
  }
  return highest
}

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
  for (const [step, series] of seriesOf(lineages)) {
    for (const one of series.slice(0, MOST_FIGURES)) {
      if (one.points.length < 2) continue
      parts.push([`${printable(one.figure)} along ${printable(step)}`, ...plot(one, width)].join('\n'))
    }
    const barriers = series.flatMap((one) => {
      const found = isLoss(one.figure) ? barrier(one) : undefined
      if (!found) return []
      const where = found.height > 0 ? ` at t = ${number(found.t)}` : ''
      const along = `${number(found.height)} along ${printable(step)}`
      heights.set(one.figure, [...(heights.get(one.figure) ?? []), along])
      return [`barrier of ${printable(one.figure)}: ${number(found.height)}${where}`]
    })
    const more = series.length - MOST_FIGURES
    if (more > 0) barriers.push(`${counted(more, 'more metric')} in the lineage files`)
    if (barriers.length > 0) parts.push(barriers.join('\n'))
  }
  // Several paths, often before and after an alignment: one line to compare them.
  const several = [...heights].filter(([, along]) => along.length > 1)
  const lines = several.map(([figure, along]) => `barriers of ${printable(figure)}: ${along.join(', ')}`)
  if (lines.length > 0) parts.push(lines.join('\n'))
  return parts.join('\n\n')
}
