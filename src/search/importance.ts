/** How much each parameter of a search matters for the score. */
import type { Dimension, SearchValue } from '../recipe/search/types.js'
import { type DoneTrial, doneOf } from './done.js'
import { forestOf, variances } from './forest.js'
import { placeOf } from './samplers/ranges.js'
import type { SearchRecord } from './types.js'

/** With fewer successful trials, a forest says little, and ranks are compared. With fewer than `FEWEST`, neither says anything. */
export const FOREST_TRIALS = 20
const FEWEST = 4

export type Importance =
  /**
   * Functional ANOVA (Hutter, Hoos, Leyton-Brown, ICML 2014) of a random forest: the share of the variance of the score that each
   * parameter explains alone. The rest is what they explain only together.
   */
  | { readonly kind: 'anova'; readonly shares: readonly number[]; readonly together: number }
  /** The size of Spearman's rank correlation with the score. For lists: the square root of the share of the ranks' variance. */
  | { readonly kind: 'ranks'; readonly shares: readonly number[] }

const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length

/** Ranks from 0; equal values share the mean of their ranks. */
function ranksOf(values: readonly number[]): number[] {
  const order = [...values.keys()].sort((a, b) => values[a]! - values[b]!)
  const ranks = values.map(() => 0)
  for (let from = 0; from < order.length; ) {
    let to = from
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++
    for (let index = from; index < to; index++) ranks[order[index]!] = (from + to - 1) / 2
    from = to
  }
  return ranks
}

/** The correlation of two lists of numbers; 0 if one of them is constant. */
function correlation(a: readonly number[], b: readonly number[]): number {
  const [centreA, centreB] = [mean(a), mean(b)]
  let [both, own, other] = [0, 0, 0]
  for (const [index, value] of a.entries()) {
    const [x, y] = [value - centreA, b[index]! - centreB]
    both += x * y
    own += x * x
    other += y * y
  }
  return own === 0 || other === 0 ? 0 : both / Math.sqrt(own * other)
}

/** The mean of the ranks of each value of a list in place of the value: its correlation with the ranks is the correlation ratio. */
function groupMeans(values: readonly SearchValue[], ranks: readonly number[]): number[] {
  const groups = new Map<SearchValue, number[]>()
  for (const [index, value] of values.entries()) groups.set(value, [...(groups.get(value) ?? []), ranks[index]!])
  return values.map((value) => mean(groups.get(value)!))
}

function byRanks(dimensions: readonly Dimension[], done: readonly DoneTrial[]): Importance {
  const ranks = ranksOf(done.map(({ score }) => score))
  const shares = dimensions.map(({ range }, i) => {
    const values = done.map(({ point }) => point[i]!)
    const own = range.kind === 'choice' ? groupMeans(values, ranks) : ranksOf(values.map(Number))
    return Math.abs(correlation(own, ranks))
  })
  return { kind: 'ranks', shares }
}

/**
 * Scores far below the others, as those of broken merges often are, would be all that counts. They count as three times the distance of
 * the quartiles below the first one.
 */
export function limited(scores: readonly number[]): number[] {
  const sorted = [...scores].sort((a, b) => a - b)
  const quarter = sorted[Math.floor(sorted.length / 4)]!
  const least = quarter - 3 * (sorted[Math.floor((3 * sorted.length) / 4)]! - quarter)
  return scores.map((one) => Math.max(one, least))
}

function byForest(dimensions: readonly Dimension[], done: readonly DoneTrial[]): Importance {
  const targets = limited(done.map(({ score }) => score))
  const samples = done.map(({ point }, index) => ({
    places: point.map((value, i) => placeOf(dimensions[i]!.range, value)),
    target: targets[index]!,
  }))
  const trees = forestOf(samples)
    .map(variances)
    .filter(({ whole }) => whole > 0)
  if (trees.length === 0) return { kind: 'anova', shares: dimensions.map(() => 0), together: 0 }
  const shares = dimensions.map((_, axis) => mean(trees.map(({ whole, alone }) => alone[axis]! / whole)))
  return { kind: 'anova', shares, together: Math.max(0, 1 - shares.reduce((sum, one) => sum + one, 0)) }
}

/** By dimension. Undefined: too few trials succeeded. */
export function importanceOf({
  dimensions,
  trials,
}: Pick<SearchRecord, 'dimensions' | 'trials'>): Importance | undefined {
  const done = doneOf(trials)
  if (done.length < FEWEST) return undefined
  return done.length < FOREST_TRIALS ? byRanks(dimensions, done) : byForest(dimensions, done)
}
