/**
 * What the sparsifying methods keep of one task vector: trim, dare, della, breadcrumbs; and how `rescale` makes up for it.
 *
 * Magnitudes are ranked by their float32 bits in either compute type (`magnitudeKey`); of equal ones the lowest index counts
 * as the larger. Random masks depend on (seed, model's name, tensor's name, element) and the probability as float32 alone,
 * neither on the values nor on the compute type: an element is kept where uniform < p.
 */
import { randomStream } from '../../src/core/random.js'
import {
  byMagnitude,
  type Given,
  magnitudeKey,
  magnitudeOf,
  option,
  options,
  rounding,
  rowsOf,
  sum,
  type Tensor,
} from './numeric.js'
import { uniform } from './random.js'

/** What is left of one δ: kept elements already divided where each has a probability of its own; `scale` for all of them. */
export interface Sparse {
  readonly values: Tensor
  readonly mask: Uint8Array
  /** One factor for the whole tensor, folded into its coefficient in float64. */
  readonly scale: number
}

interface Ranked {
  readonly mask: Uint8Array
  /** Keys of the last element cut and of the last kept: the thresholds, at which the index decides. */
  readonly edges: readonly number[]
}

/** By falling magnitude: positions cut … cut + k − 1 stay. */
function byRank(delta: Tensor, cut: number, k: number): Ranked {
  const mask = new Uint8Array(delta.length)
  const order = byMagnitude(delta)
  for (const i of order.slice(cut, cut + k)) mask[i] = 1
  const last = [cut, cut + k].filter((end) => end > 0 && end < delta.length).map((end) => order[end - 1]!)
  return { mask, edges: last.map((i) => magnitudeKey(delta[i]!)) }
}

/** ties: the k = max(1, int(density·N)) largest magnitudes; all for density 1. */
export const trim = (delta: Tensor, density: number): Ranked =>
  byRank(delta, 0, Math.max(1, Math.trunc(density * delta.length)))

/**
 * breadcrumbs (arXiv 2312.06795): k = int(density·N) elements stay; int(gamma·N) largest are cut, fewer where else k could not
 * stay; of the smallest, as many as remain.
 */
export function breadcrumbs(delta: Tensor, density: number, gamma: number): Ranked {
  const k = Math.trunc(density * delta.length)
  return byRank(delta, Math.min(Math.trunc(gamma * delta.length), delta.length - k), k)
}

/**
 * della (arXiv 2406.11617): p = density − ε + 2ε·r, r = rank/(n − 1) in its row, from 0 for the
 * smallest to 1 for the largest magnitude; rows of one element: p = density. Each p in float64, then rounded to float32.
 */
export function dellaProbabilities(delta: Tensor, shape: readonly number[], density: number, epsilon: number) {
  if (density !== 1 && (density - epsilon <= 0 || density + epsilon >= 1)) {
    throw new Error(`density ${density} ± epsilon ${epsilon} must lie inside (0, 1)`)
  }
  const p = new Float32Array(delta.length).fill(density)
  const { rows, length } = rowsOf(shape, delta.length)
  if (density === 1 || length < 2) return p
  for (let row = 0; row < rows; row++) {
    byMagnitude(delta, row * length, (row + 1) * length).forEach((i, position) => {
      p[i] = density - epsilon + 2 * epsilon * ((length - 1 - position) / (length - 1))
    })
  }
  return p
}

/** Keeps element i where its uniform number is under p_i (float32). */
export function randomMask(given: Given, model: number, probability: (index: number) => number, n: number): Uint8Array {
  const stream = randomStream(given.seed ?? 0, given.modelNames?.[model] ?? String(model), given.tensorName ?? '')
  return new Uint8Array(n).map((_, i) => (uniform(stream, i) < Math.fround(probability(i)) ? 1 : 0))
}

/**
 * `rescale`: false; `inverse`, each kept element divided by its keeping probability (ties and breadcrumbs: by density);
 * `l1`, times Σ abs(δ) / Σ abs(kept δ), 1 where that divides by 0; true means what the method's papers or mergekit do.
 */
type Rescale = false | 'inverse' | 'l1'

function rescaleOf(given: Given, whenTrue: Rescale, byDefault: Rescale): Rescale {
  const value = option<boolean | string>(given, 'rescale', byDefault as boolean | string)
  return value === true ? whenTrue : (value as Rescale)
}

/**
 * `l1`: Σ abs(δ) / Σ abs(kept δ); 1 where nothing was dropped or it would divide by 0. Kept elements at a threshold (`edges`) enter
 * as count · float32 magnitude after the others, in the order of the edges, so that a stream need not know yet which they are.
 */
function l1Scale(delta: Tensor, { mask, edges }: Ranked): number {
  if (mask.every((kept) => kept === 1)) return 1
  const at = Array.from(delta, (x, i) => (mask[i] ? edges.indexOf(magnitudeKey(x)) : -1))
  const all = sum(delta.length, (i) => Math.abs(delta[i]!))
  let left = sum(delta.length, (i) => (mask[i] && at[i] === -1 ? Math.abs(delta[i]!) : 0))
  edges.forEach((edge, which) => {
    left += at.filter((found) => found === which).length * magnitudeOf(edge)
  })
  return left === 0 ? 1 : all / left
}

export type Sparsifier = 'trim' | 'dare' | 'della' | 'breadcrumbs'

/** Sparsifies each δ_i by itself, before weighting. */
export function sparsify(given: Given, deltas: readonly Tensor[], kind: Sparsifier): readonly Sparse[] {
  const random = kind === 'dare' || kind === 'della'
  const rescale = rescaleOf(given, random ? 'inverse' : 'l1', random ? 'inverse' : false)
  const densities = options(given, 'density', 1)
  const epsilons = options(given, 'epsilon', 0.15)
  const gammas = options(given, 'gamma', 0.01)
  const round = rounding(given.compute)
  return deltas.map((delta, model) => {
    const density = densities[model]!
    if (kind === 'della') {
      const p = dellaProbabilities(delta, given.shape, density, epsilons[model]!)
      const mask = randomMask(given, model, (i) => p[i]!, delta.length)
      const values = rescale === 'inverse' ? (delta.map((x, i) => round(x / p[i]!)) as Tensor) : delta
      return { values, mask, scale: rescale === 'l1' ? l1Scale(delta, { mask, edges: [] }) : 1 }
    }
    const ranked =
      kind === 'trim'
        ? trim(delta, density)
        : kind === 'breadcrumbs'
          ? breadcrumbs(delta, density, gammas[model]!)
          : { mask: randomMask(given, model, () => density, delta.length), edges: [] }
    const scale = rescale === 'l1' ? l1Scale(delta, ranked) : rescale === 'inverse' ? 1 / density : 1
    return { values: delta, mask: ranked.mask, scale }
  })
}
