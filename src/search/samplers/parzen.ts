/**
 * Parzen estimators of TPE: mixtures with one kernel per observed point and one prior over the whole space. A kernel is a product over
 * the parameters: truncated normal distributions over places, and weights of the values of a list.
 */
import type { Range } from '../../recipe/search/types.js'
import { exp, ln, normalAt, normalShare } from './functions.js'
import { cellOf, countOf } from './ranges.js'

/** Observations that have the weight 1. Older ones count less, down to 1 divided by their number. */
const FLAT = 25

/** A kernel's part in one parameter. */
type Kernel =
  | {
      readonly mean: number
      readonly deviation: number
      /** The shares of the distribution below the space, and inside of it. */
      readonly below: number
      readonly inside: number
      /** Of the density at the mean, apart from √(2π). */
      readonly log: number
    }
  | { readonly weights: readonly number[]; readonly logs: readonly number[] }

export interface Mixture {
  readonly ranges: readonly Range[]
  /** The sum is 1. */
  readonly weights: readonly number[]
  /** By kernel, then by parameter. The last kernel is the prior. */
  readonly kernels: readonly (readonly Kernel[])[]
}

function normal(mean: number, deviation: number): Kernel {
  const below = normalShare(-mean / deviation)
  const inside = normalShare((1 - mean) / deviation) - below
  return { mean, deviation, below, inside, log: -ln(deviation * inside) }
}

const listed = (weights: readonly number[]): Kernel => ({ weights, logs: weights.map(ln) })

/** The larger distance to a neighbour, or for the outermost places the distance to the one that they have. */
function deviationsOf(places: readonly number[]): number[] {
  const order = [...places.keys()].sort((a, b) => places[a]! - places[b]! || a - b)
  const sorted = [0, ...order.map((index) => places[index]!), 1]
  const least = 1 / Math.min(100, places.length + 2)
  const found: number[] = places.map(() => 0)
  for (const [rank, index] of order.entries()) {
    const left = sorted[rank + 1]! - sorted[rank]!
    const right = sorted[rank + 2]! - sorted[rank + 1]!
    const outermost = places.length > 1 && (rank === 0 || rank === places.length - 1)
    const gap = outermost ? (rank === 0 ? right : left) : Math.max(left, right)
    found[index] = Math.min(1, Math.max(least, gap))
  }
  return found
}

function kernelsOf(range: Range, places: readonly number[]): Kernel[] {
  if (range.kind !== 'choice') {
    const deviations = deviationsOf(places)
    return [...places.map((place, index) => normal(place, deviations[index]!)), normal(0.5, 1)]
  }
  const count = countOf(range)!
  const all = places.length + 1
  const prior = Array.from({ length: count }, () => 1 / count)
  const own = places.map((place) => {
    const chosen = Math.floor(place * count)
    return listed(prior.map((_, value) => (1 / all + (value === chosen ? 1 : 0)) / (1 + count / all)))
  })
  return [...own, listed(prior)]
}

/** The mixture of observed places, the oldest first. */
export function mixtureOf(ranges: readonly Range[], observed: readonly (readonly number[])[]): Mixture {
  const count = observed.length
  const ramp = Math.max(0, count - FLAT)
  const raw = observed.map((_, index) => {
    if (index >= ramp) return 1
    return ramp === 1 ? 1 / count : 1 / count + (index / (ramp - 1)) * (1 - 1 / count)
  })
  const total = raw.reduce((all, one) => all + one, 1)
  const byRange = ranges.map((range, i) =>
    kernelsOf(
      range,
      observed.map((point) => point[i]!),
    ),
  )
  return {
    ranges,
    weights: [...raw, 1].map((one) => one / total),
    kernels: Array.from({ length: count + 1 }, (_, k) => byRange.map((kernels) => kernels[k]!)),
  }
}

/** Index of the weight in which a share of their sum falls. */
function chosenBy(weights: readonly number[], share: number): number {
  let rest = share * weights.reduce((all, one) => all + one, 0)
  const found = weights.findIndex((one) => {
    rest -= one
    return rest < 0
  })
  return found < 0 ? weights.length - 1 : found
}

/** A point of the mixture, as places, from one number between 0 and 1 for the kernel and one per parameter. */
export function sample({ ranges, weights, kernels }: Mixture, draws: readonly number[]): number[] {
  const kernel = kernels[chosenBy(weights, draws[0]!)]!
  return kernel.map((own, i) => {
    const share = draws[i + 1]!
    if ('weights' in own) return (chosenBy(own.weights, share) + 0.5) / countOf(ranges[i]!)!
    const place = own.mean + own.deviation * normalAt(own.below + share * own.inside)
    return Math.min(1, Math.max(0, place))
  })
}

/** Apart from √(2π). Integers and steps have the share of the kernel that falls on their value. */
function logDensity(range: Range, kernel: Kernel, place: number): number {
  if ('weights' in kernel) return kernel.logs[Math.min(kernel.logs.length - 1, Math.floor(place * kernel.logs.length))]!
  const { mean, deviation, inside } = kernel
  const [from, to] = cellOf(range, place)
  if (to > from) {
    const share = normalShare((to - mean) / deviation) - normalShare((from - mean) / deviation)
    return ln(Math.max(share, 1e-300) / inside)
  }
  const z = (place - mean) / deviation
  return (-z * z) / 2 + kernel.log
}

/** The logarithm of the mixture's density at a point, apart from a constant that all mixtures over the same ranges share. */
export function logOf({ ranges, weights, kernels }: Mixture, point: readonly number[]): number {
  const logs = kernels.map((kernel, k) =>
    kernel.reduce((all, own, i) => all + logDensity(ranges[i]!, own, point[i]!), ln(weights[k]!)),
  )
  const most = logs.reduce((a, b) => Math.max(a, b))
  return most + ln(logs.reduce((all, one) => all + (one < most - 50 ? 0 : exp(one - most)), 0))
}
