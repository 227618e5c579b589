/**
 * Tree-structured Parzen estimators: J. Bergstra and others, "Algorithms for hyper-parameter optimization" (2011), with the defaults of
 * Optuna 5: multivariate kernels, 10 random trials first, the best ⌈n/10⌉ trials (at most 25) against all others, 24 candidates.
 *
 * A batch has `BATCH` points. Points of the same batch count as bad ones for those after them, so that they differ (a constant liar).
 */
import type { Sampler } from '../types.js'
import { logOf, type Mixture, mixtureOf, sample } from './parzen.js'
import { placeOf, uniforms, valueAt } from './ranges.js'
import { ranked } from './ranked.js'

const RANDOM = 10
const CANDIDATES = 24
const BATCH = 4

const gamma = (count: number): number => Math.min(Math.ceil(count / 10), 25)

/** The candidate whose density among good trials exceeds that among the others by most. */
function bestCandidate(good: Mixture, bad: Mixture, draws: readonly number[], n: number): number[] {
  const candidates = Array.from({ length: CANDIDATES }, (_, k) =>
    sample(good, draws.slice(k * (n + 1), (k + 1) * (n + 1))),
  )
  const gains = candidates.map((one) => logOf(good, one) - logOf(bad, one))
  return candidates[gains.reduce((best, gain, k) => (gain > gains[best]! ? k : best), 0)]!
}

export const tpe: Sampler = {
  name: 'tpe',
  describe: 'draws points that are likely among the best trials and unlikely among the others (TPE, as in Optuna)',
  check: () => undefined,
  batch: () => BATCH,
  propose(space, { seed, trials }, batch, earlier) {
    const ranges = space.map(({ range }) => range)
    const n = space.length
    const first = batch * BATCH
    const places = new Map(
      earlier.map(({ index, point }) => [index, point.map((value, i) => placeOf(ranges[i]!, value))]),
    )
    const order = ranked(earlier).map(({ index }) => index)
    const byAge = (indexes: readonly number[]): (readonly number[])[] =>
      [...indexes].sort((a, b) => a - b).map((index) => places.get(index)!)
    const count = gamma(earlier.filter(({ state }) => state === 'done').length)
    const good = byAge(order.slice(0, count))
    const goodMixture = mixtureOf(ranges, good)
    const bad = byAge(order.slice(count))
    const found: number[][] = []
    for (let index = first; index < Math.min(first + BATCH, trials); index++) {
      const draws = uniforms(seed, `trial ${index}`, CANDIDATES * (n + 1))
      if (index < RANDOM || good.length === 0) found.push(draws.slice(0, n))
      else found.push(bestCandidate(goodMixture, mixtureOf(ranges, [...bad, ...found]), draws, n))
    }
    return found.map((point) => point.map((place, i) => valueAt(ranges[i]!, place)))
  },
}
