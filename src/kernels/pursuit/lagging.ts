/** Weights of which products know. Changes that hardly matter wait. */
import type { Fit } from './fit.js'
import { MOST, ONE, ULP } from './integers.js'

/** What rounding makes of the norm of a sum of rows, as a share of the sum of their norms: cosines are in float32 there. */
const UNSURE = 6e-4
/** About the norm of a sum of rows of norm 1, as a share of that of its coefficients. */
const TOGETHER = 0.6
/** The sum of integers whose products with integers of 16 bits have a sum below 2³¹. */
const SUM = 2 ** 16 - 8

/** Rows of a thread's memory. */
export interface ProductRoom {
  readonly buffer: ArrayBufferLike
  readonly cosinesAt: number
  readonly addressesAt: number
  readonly coefficientsAt: number
  readonly normsAt: number
  readonly peaksAt: number
}

export interface Lagging {
  /** What weights take off the base: coefficients of rows of norm 1, as shares of its norm. */
  readonly shares: Float64Array
  begin(norm: number): void
  /** What the weights take off is off the base already. */
  goOn(norm: number): void
  /** Looks at the weights as they are now. */
  look(): void
  /** Writes the changes to apply: the others, together, matter by about the tolerance. They count as applied, but for what rounding leaves. */
  choose(tolerance: number): { readonly pairs: number; readonly unit: number }
  /** The most that changes that wait can make of a product of rows of norm 1. */
  lag(): number
  /** The most that rounding can have made of it so far. */
  drift(): number
  /** What changes that wait take off the product with a row. */
  change(rows: readonly Int16Array[], atom: number): number
}

export function lagging(
  { buffer, cosinesAt, addressesAt, coefficientsAt }: ProductRoom,
  pitch: number,
  fit: Fit,
  k: number,
): Lagging {
  const words = new Int16Array(buffer, coefficientsAt, 2 * Math.ceil(k / 2))
  const addresses = new Uint32Array(buffer, addressesAt, 2 * Math.ceil(k / 2))
  const [shares, before, applied, waiting] = [1, 2, 3, 4].map(() => new Float64Array(k)) as [
    ...[Float64Array, Float64Array, Float64Array, Float64Array],
  ]
  let [norm, drift, lag] = [1, 0, 0]
  const start = (of: number): void => {
    norm = of
    drift = 0
    applied.fill(0)
  }
  /** Writes changes as integers, and where their rows of cosines are. What rounding leaves of a change waits on. */
  const write = (places: readonly number[], unit: number): void => {
    for (const [i, place] of places.entries()) {
      const word = Math.max(-MOST, Math.min(MOST, Math.round(waiting[place]! / unit)))
      words[i] = word
      addresses[i] = cosinesAt + place * pitch
      applied[place] = applied[place]! + word * unit
      waiting[place] = shares[place]! - applied[place]!
    }
    if ((places.length & 1) === 0) return
    words[places.length] = 0
    addresses[places.length] = addresses[places.length - 1]!
  }
  return {
    shares,
    begin(of) {
      start(of)
      before.fill(0)
    },
    goOn(of) {
      start(of)
      before.fill(0)
      before.set(fit.weights.subarray(0, fit.chosen.length))
    },
    look() {
      const { chosen, weights, norms } = fit
      for (let i = 0; i < chosen.length; i++) {
        shares[i] = ((weights[i]! - before[i]!) * norms[i]!) / norm
        waiting[i] = shares[i]! - applied[i]!
      }
    },
    choose(tolerance) {
      const places = largest(waiting, fit.chosen.length, tolerance)
      let [most, sum] = [0, 0]
      for (const place of places) {
        most = Math.max(most, Math.abs(waiting[place]!))
        sum += Math.abs(waiting[place]!)
      }
      // Integers, rounded, have 16 bits, and their products with cosines a sum below 2³¹. A power of two is exact.
      const least = Math.max(most / MOST, sum / (SUM - places.length / 2))
      const unit = sum > 0 ? 2 ** Math.ceil(Math.log2(least)) : 1
      write(places, unit)
      drift += ULP * (5 * sum + 3)
      let rest = 0
      for (let i = 0; i < fit.chosen.length; i++) rest += Math.abs(waiting[i]!)
      lag = rest > 0 ? fit.normOf(waiting) + UNSURE * rest : 0
      return { pairs: (places.length + 1) >> 1, unit }
    },
    lag: () => lag,
    drift: () => drift,
    change(rows, atom) {
      let sum = 0
      for (let i = 0; i < fit.chosen.length; i++) sum += waiting[i]! * rows[i]![atom]!
      return sum / ONE
    },
  }
}

/** The places with the largest changes. The others, together, are about as small as the tolerance. */
function largest(waiting: Float64Array, count: number, tolerance: number): number[] {
  const order = Array.from({ length: count }, (_, place) => place)
  order.sort((a, b) => Math.abs(waiting[b]!) - Math.abs(waiting[a]!))
  let [size, sum] = [count, 0]
  while (size > 0) {
    sum += waiting[order[size - 1]!]! ** 2
    if (TOGETHER * Math.sqrt(sum) > tolerance) break
    size--
  }
  // Pairs are applied.
  return order.slice(0, size + (size & 1))
}
