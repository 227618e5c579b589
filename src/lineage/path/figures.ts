/** The metrics of `evaluate` commands along an interpolation, and what they say of the way between its ends. */
import type { Lineage } from '../types.js'

/** The values of one metric along a path, in order of t. */
export interface Series {
  /** The name of the metric. */
  readonly figure: string
  /** `t` is from 0 at the first model to 1 at the second. */
  readonly points: readonly { readonly t: number; readonly value: number }[]
}

/** How far a metric is on the bad side of the straight line between its ends, and where it is farthest; 0 at t = 0 if it never is. */
export interface Deviation {
  /** In units of the metric. */
  readonly height: number
  /** From 0 at the first model to 1 at the second. */
  readonly t: number
}

/** By metric. */
export type Deviations = Readonly<Record<string, Deviation>>

/** Metrics with these names are shown first. */
const FIRST = [/loss/i, /acc/i]
const isLoss = (figure: string): boolean => /loss|perplexity|error/i.test(figure)
const isAccuracy = (figure: string): boolean => !isLoss(figure) && /acc/i.test(figure)

const rank = (figure: string): number => {
  const place = FIRST.findIndex((pattern) => pattern.test(figure))
  return place < 0 ? FIRST.length : place
}

/** The series of all metrics of a path, the most important ones first. */
export function seriesOf(
  points: readonly { readonly t: number; readonly metrics: Readonly<Record<string, number>> }[],
): Series[] {
  const sorted = [...points].sort((a, b) => a.t - b.t)
  const figures = [...new Set(sorted.flatMap(({ metrics }) => Object.keys(metrics).sort()))]
  return figures
    .sort((a, b) => rank(a) - rank(b))
    .map((figure) => ({
      figure,
      points: sorted.flatMap(({ t, metrics }) =>
        Object.hasOwn(metrics, figure) ? [{ t, value: metrics[figure]! }] : [],
      ),
    }))
}

/**
 * The barrier of a loss as in Git Re-Basin (arXiv 2209.04836): its largest height above the straight line between the losses of
 * the ends, t = 0 and t = 1. Undefined for other metrics, and without both ends. Never throws.
 */
export const barrier = (series: Series): Deviation | undefined =>
  isLoss(series.figure) ? farthest(series, 1) : undefined

/**
 * The drop of an accuracy: its largest depth below the straight line between the accuracies of the ends. Undefined for other
 * metrics, and without both ends. Never throws.
 */
export const drop = (series: Series): Deviation | undefined =>
  isAccuracy(series.figure) ? farthest(series, -1) : undefined

function farthest({ points }: Series, sign: 1 | -1): Deviation | undefined {
  const [from, to] = [0, 1].map((end) => points.find(({ t }) => t === end)?.value)
  if (from === undefined || to === undefined) return undefined
  let most: Deviation = { height: 0, t: 0 }
  for (const { t, value } of points) {
    const height = sign * (value - ((1 - t) * from + t * to))
    if (t >= 0 && t <= 1 && height > most.height) most = { height, t }
  }
  return most
}

/** The metrics of the lineages of a run, by the name of the interpolation. Never throws. */
export function measuredPaths(lineages: readonly Lineage[]): Map<string, Series[]> {
  const paths = new Map<string, { t: number; metrics: Readonly<Record<string, number>> }[]>()
  for (const { output, evaluations: metrics } of lineages) {
    if (!output.point || !metrics) continue
    paths.set(output.from, [...(paths.get(output.from) ?? []), { t: output.point.t, metrics }])
  }
  return new Map([...paths].map(([step, points]) => [step, seriesOf(points)]))
}
