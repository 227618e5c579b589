/** Least squares of one row on chosen rows, to the precision of float64 whatever the factor's. */
import { type Factor, factorOf } from './factor.js'
import { ULP } from './integers.js'
import type { Space } from './space.js'
import type { Dictionary } from './types.js'

/** A row is a sum of those before it if less than this share of its square is left. */
export const DEPENDENT = 1e-10
/** Below this share, products in float32 are not enough. */
const NARROW = 1e-4
/** Norms whose products float32 can hold. */
const [LEAST, MOST] = [1e-12, 1e12]
/** What rounding makes of a cosine of two rows, at most: sums of two products are in float32, where products of halves are exact. */
const [NARROW_ERROR, HALF_ERROR, WIDE_ERROR] = [2.1 * ULP, 1.1 * ULP, 1e-12]
/** Rounds of refinement: each gains as many digits as the factor has. */
const ROUNDS = 6
/** What is left along a chosen row in the end, and where a choice is close, as a share of the norm. */
const [PRECISE, CLOSE] = [1e-14, 1e-10]

export interface Fit {
  readonly chosen: number[]
  /** The weights, in the order of `chosen`. */
  readonly weights: Float64Array
  /** The norms of the chosen rows. */
  readonly norms: Float64Array
  /** Starts with another row, which is in the space. */
  begin(): void
  /** The squared norm of that row. */
  readonly square: number
  /** Chooses a row. False if it is a sum of the chosen rows. */
  choose(atom: number): boolean
  /** The squared norm of the residual, as far as the factor knows it. */
  readonly left: number
  /** The most by which the residual of the weights differs from the true one, in norm. */
  doubt(): number
  /**
   * Puts the residual into the space, in float32. Returns the most by which it differs from the true one, in norm; infinity if float32
   * has not the range.
   */
  subtract(): number
  /** The norm of the sum of the chosen rows, each of norm 1, with these coefficients. */
  normOf(coefficients: Float64Array): number
  /** Refines the weights, and puts the residual into the space. Returns its squared norm. */
  refine(): number
  /** The same, to fewer digits: `doubt` says how well. */
  approach(): void
}

export function fitOf(space: Space, dictionary: Dictionary, k: number): Fit {
  const { squares, width } = dictionary
  const { kernels, targetAt, residualAt, rowAt } = space
  const state = stateOf(k)
  const { chosen, weights, norms, rights, factor } = state
  const grow = growth(space, dictionary, state)
  let square = 0
  let refined: number | undefined
  /** The most that is left along a chosen row, where the weights are refined. */
  let along: number | undefined
  const refineTo = (share: number): number => refineOn(space, width, share * Math.sqrt(square), state)
  /** The sum of the norms of what is taken off. */
  const sizes = (): number => {
    let sum = 0
    for (let i = 0; i < chosen.length; i++) sum += Math.abs(weights[i]!) * norms[i]!
    return sum
  }
  const doubt = (): number => {
    if (along !== undefined) return 2 * along * Math.sqrt(chosen.length) * factor.spread
    return 1.01 * grow.error() * sizes() * Math.sqrt(chosen.length) * factor.spread
  }
  return {
    ...{ chosen, weights, norms, doubt, normOf: factor.normOf },
    get square() {
      return square
    },
    get left() {
      return refined ?? Math.max(0, square - factor.explained)
    },
    begin() {
      grow.begin()
      square = kernels.dot(targetAt, targetAt, width)
      refined = undefined
      along = undefined
    },
    choose(atom) {
      const place = chosen.length
      // The room of the residual is used for other work.
      refined = undefined
      along = undefined
      space.load(dictionary, atom, place)
      norms[place] = Math.sqrt(squares[atom]!)
      rights[place] = kernels.rowDot(rowAt(place), targetAt, width) / norms[place]!
      if (!grow.add(place)) return false
      chosen.push(atom)
      factor.solve(weights)
      for (let i = 0; i <= place; i++) weights[i] = weights[i]! / norms[i]!
      return true
    },
    subtract() {
      const norm = Math.sqrt(square)
      if (grow.isWide() || norm < LEAST || norm > MOST) return Number.POSITIVE_INFINITY
      space.rough.set(space.target)
      space.coefficients.set(weights)
      kernels.subtractRows(space.roughAt, rowAt(0), space.step, space.coefficientsAt, chosen.length, width)
      // Each row is rounded as a product, and as a sum with what is there; so is its weight.
      const sum = sizes()
      return doubt() + 1.01 * ULP * (2 * sum + chosen.length * (norm + sum))
    },
    refine() {
      if (refined === undefined) {
        along = refineTo(PRECISE)
        refined = kernels.dot(residualAt, residualAt, width)
      }
      return refined
    },
    approach() {
      along ??= refineTo(CLOSE)
    },
  }
}

interface State {
  readonly chosen: number[]
  /** By place: weights, norms, products of rows of norm 1 with the target, and room for others. */
  readonly weights: Float64Array
  readonly norms: Float64Array
  readonly rights: Float64Array
  readonly products: Float64Array
  /** Of the chosen rows, each of norm 1. */
  readonly factor: Factor
}

function stateOf(k: number): State {
  const numbers = (): Float64Array => new Float64Array(k)
  return {
    ...{ chosen: [], weights: numbers(), norms: numbers(), rights: numbers(), products: numbers() },
    factor: factorOf(k),
  }
}

/** How a factor gets the rows that are chosen: by products in float32 while these are enough. */
function growth(space: Space, { rows, width }: Dictionary, { chosen, norms, rights, products, factor }: State) {
  const { kernels, residualAt, rowAt } = space
  const narrowError = rows instanceof Uint16Array ? HALF_ERROR : NARROW_ERROR
  /** Whether the factor has products in float64. */
  let wide = false
  /** Cosines of the row at a place with those before it, in float64. */
  const exactProducts = (place: number): void => {
    space.widen(place)
    for (let i = 0; i < place; i++)
      products[i] = kernels.rowDot(rowAt(i), residualAt, width) / (norms[i]! * norms[place]!)
  }
  const widen = (): void => {
    wide = true
    factor.reset()
    for (const place of chosen.keys()) {
      exactProducts(place)
      factor.add(products, 1, rights[place]!, 0)
    }
  }
  const narrowly = (place: number): boolean => {
    const own = norms[place]!
    if (wide || own < LEAST || own > MOST) return false
    for (let i = 0; i < place; i++) products[i] = kernels.narrowDot(rowAt(i), rowAt(place), width) / (norms[i]! * own)
    return factor.add(products, 1, rights[place]!, NARROW) >= NARROW
  }
  return {
    begin(): void {
      chosen.length = 0
      factor.reset()
      wide = false
    },
    /** False if the row is a sum of those before it. */
    add(place: number): boolean {
      if (narrowly(place)) return true
      if (!wide) widen()
      exactProducts(place)
      return factor.add(products, 1, rights[place]!, DEPENDENT) >= DEPENDENT
    },
    isWide: (): boolean => wide,
    /** What rounding makes of a product, at most. */
    error: (): number => (wide ? WIDE_ERROR : narrowError),
  }
}

/** Refines weights until nothing of what is left lies along a chosen row. Returns the most that does. */
function refineOn(
  space: Space,
  width: number,
  limit: number,
  { chosen, weights, norms, products, factor }: State,
): number {
  const { kernels, target, residual, residualAt, rowAt } = space
  residual.set(target)
  for (let i = 0; i < chosen.length; i++) kernels.addRow(residualAt, rowAt(i), -weights[i]!, width)
  let worst = limit
  for (let round = 0; round < ROUNDS; round++) {
    worst = 0
    for (let i = 0; i < chosen.length; i++) {
      products[i] = kernels.rowDot(rowAt(i), residualAt, width) / norms[i]!
      worst = Math.max(worst, Math.abs(products[i]!))
    }
    if (worst <= limit) break
    factor.solveFor(products)
    for (let i = 0; i < chosen.length; i++) {
      const change = products[i]! / norms[i]!
      weights[i] = weights[i]! + change
      kernels.addRow(residualAt, rowAt(i), -change, width)
    }
  }
  return Math.max(worst, limit)
}
