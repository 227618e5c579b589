/**
 * Products of a token's residual with all rows, kept up to date in float32. Weights of chosen rows change with each step; small
 * changes are not applied to all products at once, and count as an error until then.
 */
import type { Fit } from './fit.js'
import { BLOCK, type Space } from './space.js'
import type { Dictionary, Gram } from './types.js'

/** Of a number in float32: the most that rounding makes of it, as a share. */
export const ULP = 2 ** -24

/** The most that rounding makes of a product in float32 of rows of this width, as a share of the product of their norms. */
export const roundingOf = (width: number): number => (260 + width / 256) * ULP

export interface Products {
  /** The norm of the longest row. */
  readonly longest: number
  /** Starts with the products of a token's row. */
  begin(own: Float32Array): void
  /** The products of a row with all rows, at the place where it is chosen next. */
  readonly gramOf: (atom: number) => Float32Array
  /** A row that is not looked at again. */
  remove(atom: number): void
  /** Applies the weight of the row that was chosen last, and changes of others until these may matter at most this share. */
  update(share: number): void
  /** Applies changes until the others may matter at most this share. */
  catchUp(share: number): void
  /** The largest magnitude. */
  largest(): number
  /** The most that rounding, and changes that are not applied, can make of a product of a token of this norm. */
  rounding(norm: number): number
  lag(): number
  /** The rows with products of at least this magnitude. */
  above(least: number): number[]
  /** Those of these rows whose product can be the largest when all changes are applied. */
  corrected(candidates: readonly number[], error: number): number[]
}

/** The row of products of an atom. */
function gramRow({ blocks, perBlock }: Gram, count: number, atom: number): Float32Array {
  const at = (atom % perBlock) * count
  return blocks[Math.floor(atom / perBlock)]!.subarray(at, at + count)
}

/** The longest row's norm. */
function longestOf({ squares }: Dictionary): number {
  let most = 0
  for (const square of squares) if (square > most) most = square
  return Math.sqrt(most)
}

export function productsOf(space: Space, dictionary: Dictionary, gram: Gram, fit: Fit, k: number): Products {
  const { count, width, squares } = dictionary
  const { kernels, products, productsAt, peaks, peaksAt, blocks } = space
  const { chosen, weights } = fit
  /** Weights that the products know of. */
  const applied = new Float64Array(k)
  const grams = Array.from({ length: k + 1 }, (_, place) => space.gramRow(place))
  const longest = longestOf(dictionary)
  /** The most that rounding in additions to the products can have made so far. */
  let drift = 0
  const lagOf = (place: number): number => Math.abs(weights[place]! - applied[place]!) * gram.peaks[chosen[place]!]!
  const lag = (): number => {
    let sum = 0
    for (let i = 0; i < chosen.length; i++) sum += lagOf(i)
    return sum
  }
  const largest = (): number => {
    let most = 0
    for (let i = 0; i < blocks; i++) if (peaks[i]! > most) most = peaks[i]!
    return most
  }
  const apply = (place: number): boolean => {
    const change = Math.fround(weights[place]! - applied[place]!)
    if (change === 0) return false
    const before = largest()
    kernels.addScaled(productsAt, space.gramAt(place), -change, blocks, peaksAt)
    // Each number is rounded twice: what is added, and the sum.
    drift += ULP * (2 * largest() + before)
    applied[place] = applied[place]! + change
    return true
  }
  const catchUp = (share: number): void => {
    while (lag() > share * largest()) {
      let most = 0
      for (let i = 1; i < chosen.length; i++) if (lagOf(i) > lagOf(most)) most = i
      if (!apply(most)) return
    }
  }
  return {
    ...{ longest, lag, largest, catchUp },
    begin(own) {
      products.fill(Number.NaN)
      products.set(own)
      for (let atom = 0; atom < count; atom++) if (!(squares[atom]! > 0)) products[atom] = Number.NaN
      drift = 0
      kernels.addScaled(productsAt, productsAt, 0, blocks, peaksAt)
    },
    gramOf(atom) {
      const row = grams[chosen.length]!
      row.set(gramRow(gram, count, atom))
      return row
    },
    remove: (atom) => removeFrom(space, atom),
    update(share) {
      applied[chosen.length - 1] = 0
      apply(chosen.length - 1)
      catchUp(share)
    },
    rounding(norm) {
      let sum = 0
      for (let i = 0; i < chosen.length; i++) sum += Math.abs(weights[i]!)
      return drift + roundingOf(width) * longest * (norm + longest * sum)
    },
    above: (least) => above(space, least),
    corrected(candidates, error) {
      const sizes = candidates.map((atom) => {
        let sum = products[atom]!
        for (let i = 0; i < chosen.length; i++) sum -= (weights[i]! - applied[i]!) * grams[i]![atom]!
        return Math.abs(sum)
      })
      const least = sizes.reduce((most, size) => Math.max(most, size), 0) - 2 * error
      return candidates.filter((_, at) => sizes[at]! >= least)
    },
  }
}

/** Removes a row: its product counts no more. */
function removeFrom({ products, peaks }: Space, atom: number): void {
  products[atom] = Number.NaN
  const block = Math.floor(atom / BLOCK)
  let peak = 0
  for (let i = block * BLOCK; i < (block + 1) * BLOCK; i++) {
    const size = Math.abs(products[i]!)
    if (size > peak) peak = size
  }
  peaks[block] = peak
}

/** The rows with products of at least this magnitude. */
function above({ products, peaks, blocks, count }: Space, least: number): number[] {
  const found: number[] = []
  for (let block = 0; block < blocks; block++) {
    if (peaks[block]! < least) continue
    const end = Math.min(count, (block + 1) * BLOCK)
    for (let i = block * BLOCK; i < end; i++) if (Math.abs(products[i]!) >= least) found.push(i)
  }
  return found
}
