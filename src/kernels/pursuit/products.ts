/**
 * Products of what is left of a token's row with all rows. They are computed from integers of 16 bits, with a bound of their error:
 * integers stand for rows x̂ that are close to the rows x. Without other rounding, a product is that of r̂ = x̂ − Σ wᵢ âᵢ with âⱼ. So
 * its error is at most |r̂ − r| |aⱼ| + |r̂| |âⱼ − aⱼ|, and |r̂ − r| is at most |x̂ − x| + Σ |wᵢ| |âᵢ − aᵢ|.
 */
import type { Fit } from './fit.js'
import { ONE, roundingOf, ULP } from './integers.js'
import { lagging, type ProductRoom } from './lagging.js'
import type { DenseKernels } from './memory.js'
import type { Cosines, Integers } from './types.js'

/** Numbers in a block: its largest one is known. */
export const BLOCK = 64

/** What cosines as integers leave out, and numbers that come in between. */
const [COSINE, SLACK] = [0.5 / ONE, 16 * ULP]
/** Changes of weights that are not applied may change no product by more than about this share of the largest one. */
const LAG = 0.06
/** More rows than these are not corrected one by one. */
const CROWD = 200

export const blocksOf = (count: number): number => Math.ceil(count / BLOCK)
/** Bytes from a row of cosines to the next: not at the same places of caches. */
const cosinePitch = (count: number): number => 2 * BLOCK * blocksOf(count) + 64

export const roomBytes = (count: number, k: number): number[] => {
  const [blocks, pairs] = [blocksOf(count), Math.ceil(k / 2)]
  return [k * cosinePitch(count), 8 * pairs, 4 * pairs, 4 * BLOCK * blocks, 4 * blocks]
}

/** What products are computed from: a row, its norm, and what its integers leave out as a share of it. */
export interface Base {
  /** Where its products with all rows of norm 1 are, as shares of its norm. They are changed. */
  readonly at: number
  readonly norm: number
  readonly error: number
}

export interface Near {
  /** The rows that can have the largest product, ascending. */
  readonly atoms: readonly number[]
  /** Whether there is a product for sure. */
  readonly sure: boolean
}

export interface Products {
  /** The largest norm of a row. */
  readonly longest: number
  /** The norm of the row that products are computed from. */
  readonly norm: number
  /** Starts with a token's row. */
  begin(base: Base): void
  /** Goes on with what the weights leave of it. */
  goOn(base: Base): void
  /** A row that was chosen: at its place, its cosines with all rows are read. */
  add(atom: number, place: number): void
  /** A row that is not looked at again. */
  remove(atom: number): void
  near(): Near
}

/** As a share of the largest product that is possible: below, there is none. */
export const NOTHING = 1e-14

export function productsOf(
  kernels: DenseKernels,
  room: ProductRoom,
  { count, width, squares }: { readonly count: number; readonly width: number; readonly squares: Float64Array },
  { errors }: Integers,
  cosines: Cosines,
  fit: Fit,
  k: number,
): Products {
  const { buffer, cosinesAt, normsAt } = room
  const [blocks, pitch] = [blocksOf(count), cosinePitch(count)]
  const norms = new Float32Array(buffer, normsAt, BLOCK * blocks)
  const rows = Array.from({ length: k }, (_, place) => new Int16Array(buffer, cosinesAt + place * pitch, count))
  const longest = longestOf(squares)
  const all = normsIn(squares, longest)
  norms.fill(0)
  norms.set(all)
  let worst = 0
  for (let atom = 0; atom < count; atom++) if (all[atom]! > 0 && errors[atom]! > worst) worst = errors[atom]!
  const weights = lagging(room, pitch, fit, k)
  const removed: number[] = []
  let base: Base
  let values: Float32Array
  let least = 0

  const errorOf = (): number => errorOn(fit, weights.shares, errors, base, worst, width)
  /** Applies changes until the others are small. Returns what may be the largest one, by the bound on the error. */
  const look = (tolerance: number, error: number): number[] => {
    const { pairs, unit } = weights.choose(tolerance)
    const bound = error + weights.lag() + weights.drift()
    const { addressesAt, coefficientsAt, peaksAt } = room
    least = kernels.takeOff(
      ...([base.at, addressesAt, pairs, coefficientsAt, unit / ONE] as const),
      ...([bound, normsAt, blocks, peaksAt] as const),
    )
    const limit = least * (1 - 1e-5)
    return atLeast(new Float32Array(buffer, peaksAt, blocks), values, norms, bound, limit)
  }
  /** Those of these rows whose product can be the largest when all changes are applied. */
  const corrected = (atoms: readonly number[], error: number): readonly number[] => {
    const bound = error + weights.drift()
    const sizes = atoms.map((atom) => Math.abs(values[atom]! - weights.change(rows, atom)))
    least = atoms.reduce((most, atom, i) => Math.max(most, (sizes[i]! - bound) * norms[atom]!), 0)
    const limit = least * (1 - 1e-5)
    return atoms.filter((atom, i) => (sizes[i]! + bound) * norms[atom]! >= limit)
  }
  return {
    longest,
    get norm() {
      return base.norm
    },
    begin(first) {
      base = first
      values = new Float32Array(buffer, base.at, BLOCK * blocks)
      weights.begin(base.norm)
      least = 0
      for (const atom of removed.splice(0)) norms[atom] = all[atom]!
    },
    goOn(rest) {
      base = rest
      values = new Float32Array(buffer, base.at, BLOCK * blocks)
      weights.goOn(base.norm)
      least = 0
    },
    add: (atom, place) => cosines.read(atom, rows[place]!),
    remove(atom) {
      norms[atom] = 0
      removed.push(atom)
    },
    near() {
      weights.look()
      const error = errorOf()
      let atoms: readonly number[] = look(LAG * least, error)
      if (weights.lag() > 0) atoms = atoms.length > CROWD ? look(0, error) : corrected(atoms, error)
      return { atoms, sure: least * base.norm > 2 * NOTHING * Math.sqrt(fit.square) }
    },
  }
}

/** A bound on the error of a product of rows of norm 1, as a share of the base. `worst`: the largest error of a row. */
function errorOn(
  fit: Fit,
  shares: Float64Array,
  errors: Float64Array,
  base: Base,
  worst: number,
  width: number,
): number {
  const { chosen } = fit
  const rounding = roundingOf(width)
  let [sum, left] = [0, base.error]
  for (let i = 0; i < chosen.length; i++) {
    const size = Math.abs(shares[i]!)
    sum += size
    left += size * errors[chosen[i]!]!
  }
  const rest = Math.min(1, Math.sqrt(fit.left) / base.norm) + 1e-6
  const own = (COSINE + rounding) * sum + rounding + SLACK * (1 + sum)
  return (left + (rest + left) * worst + own + fit.doubt() / base.norm) * (1 + 1e-6)
}

/** The rows whose products, with this error, can reach a limit. Only blocks with such a peak are looked at. */
function atLeast(
  peaks: Float32Array,
  values: Float32Array,
  norms: Float32Array,
  error: number,
  limit: number,
): number[] {
  const atoms: number[] = []
  for (const [block, peak] of peaks.entries()) {
    if (!(peak >= limit)) continue
    for (let i = block * BLOCK; i < (block + 1) * BLOCK; i++)
      if (norms[i]! > 0 && (Math.abs(values[i]!) + error) * norms[i]! >= limit) atoms.push(i)
  }
  return atoms
}

/** The longest row's norm. */
function longestOf(squares: Float64Array): number {
  let most = 0
  for (const square of squares) if (square > most) most = square
  return Math.sqrt(most)
}

/** Norms as shares of the longest one; 0 for rows whose products are always nothing. */
const normsIn = (squares: Float64Array, longest: number): Float32Array =>
  Float32Array.from(squares, (square) => {
    const share = Math.sqrt(square) / longest
    return share > NOTHING ? share : 0
  })
