/** What the page shows of a search: names of parameters, and the number that says how good a trial is. */
import { short } from '../../lineage/forms/page/numbers.js'
import type { Dimension, SearchValue } from '../../recipe/search/types.js'
import { doneOf } from '../done.js'
import { limited } from '../importance.js'
import type { SearchRecord, Trial } from '../types.js'

/** Where trials lie on an axis of results. */
export interface Scale {
  /** The metric of a single goal; else the score. */
  readonly name: string
  /** Whether less is better. */
  readonly falls: boolean
  readonly of: (trial: Trial) => number
  /** Of the trials that succeeded. Results far worse than the others are beyond the worst end. */
  readonly worst: number
  readonly best: number
  /** How many trials are beyond the worst end. */
  readonly beyond: number
}

export function scaleOf({ objective, trials }: SearchRecord): Scale {
  const [goal] = objective
  const single = objective.length === 1 && goal!.weight === 1
  const falls = single && goal!.direction === 'minimize'
  const sign = falls ? -1 : 1
  const done = doneOf(trials)
  const scores = done.map(({ score }) => score)
  const kept = scores.length > 0 ? limited(scores) : []
  const least = kept.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)
  const most = kept.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  return {
    name: single ? goal!.metric : 'score',
    falls,
    of: ({ score }) => (score === undefined ? Number.NaN : sign * score),
    worst: done.length === 0 ? 0 : sign * least,
    best: done.length === 0 ? 0 : sign * most,
    beyond: scores.filter((one) => one < least).length,
  }
}

/** From 0, the worst, to 1, the best. */
export function heightOf({ worst, best, of }: Scale, trial: Trial): number {
  if (worst === best) return 0.5
  return Math.max(0, (of(trial) - worst) / (best - worst))
}

export const valueText = (value: SearchValue): string => (typeof value === 'number' ? short(value) : String(value))

/** Paths of parameters without the parts that all of them start with. */
export function labelsOf(dimensions: readonly Dimension[]): string[] {
  const parts = dimensions.map(({ path }) => path.split('.'))
  const [first = []] = parts
  let shared = 0
  while (parts.length > 1 && parts.every((one) => shared < one.length - 1 && one[shared] === first[shared])) shared++
  return parts.map((one) => one.slice(shared).join('.'))
}

const CLASSES = 5

/** By index of a trial: 0 to `CLASSES` - 1, the fifths of the ranking, the best last. */
export function classesOf(trials: readonly Trial[]): ReadonlyMap<number, number> {
  const order = doneOf(trials).sort((a, b) => a.score - b.score || b.index - a.index)
  return new Map(order.map(({ index }, rank) => [index, Math.floor((rank * CLASSES) / order.length)]))
}
