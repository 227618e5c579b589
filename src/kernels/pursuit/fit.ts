/** Least squares of one row on chosen rows, to the precision of float64 whatever the factor's. */
import { type Factor, factorOf } from './factor.js'
import type { Space } from './space.js'
import type { Dictionary } from './types.js'

/** A row is a sum of those before it if less than this share of its square is left. */
export const DEPENDENT = 1e-10
/** Below this share, products in float32 are not enough. */
const NARROW = 1e-4
/** Rounds of refinement: each gains as many digits as the factor has. */
const ROUNDS = 6
const PRECISE = 1e-14

export interface Fit {
  readonly chosen: number[]
  /** The weights, in the order of `chosen`. */
  readonly weights: Float64Array
  /** Starts with another row, which is in the space. */
  begin(): void
  /** The squared norm of that row. */
  readonly square: number
  /**
   * Chooses a row. `products`: its products with all rows, in float32; without them they are computed. False if it is a sum of
   * the chosen rows.
   */
  choose(atom: number, products?: Float32Array): boolean
  /** The squared norm of the residual, as far as the factor knows it. */
  readonly left: number
  /** Refines the weights, and puts the residual into the space. Returns its squared norm. */
  refine(): number
}

export function fitOf(space: Space, dictionary: Dictionary, k: number): Fit {
  const { squares, width } = dictionary
  const { kernels, targetAt, residualAt, rowAt } = space
  const factor: Factor = factorOf(k)
  const chosen: number[] = []
  const weights = new Float64Array(k)
  const rights = new Float64Array(k)
  const products = new Float64Array(k)
  let square = 0
  /** Whether the factor has products in float64. */
  let wide = false
  let refined: number | undefined

  /** Products of the row at a place with those before it, in float64. */
  const exactProducts = (place: number): void => {
    space.widen(place)
    for (let i = 0; i < place; i++) products[i] = kernels.rowDot(rowAt(i), residualAt, width)
  }
  const widen = (): void => {
    wide = true
    factor.reset()
    for (const [place, atom] of chosen.entries()) {
      exactProducts(place)
      factor.add(products, squares[atom]!, rights[place]!, 0)
    }
  }
  const add = (atom: number, place: number): boolean => {
    exactProducts(place)
    return factor.add(products, squares[atom]!, rights[place]!, DEPENDENT) >= DEPENDENT
  }

  return {
    chosen,
    weights,
    get square() {
      return square
    },
    get left() {
      return refined ?? Math.max(0, square - factor.explained)
    },
    begin() {
      chosen.length = 0
      factor.reset()
      wide = false
      square = kernels.dot(targetAt, targetAt, width)
      refined = undefined
    },
    choose(atom, narrow) {
      const place = chosen.length
      // The room of the residual is used for other work.
      refined = undefined
      space.load(dictionary, atom, place)
      rights[place] = kernels.rowDot(rowAt(place), targetAt, width)
      let added = false
      if (!wide && narrow) {
        for (let i = 0; i < place; i++) products[i] = narrow[chosen[i]!]!
        added = factor.add(products, squares[atom]!, rights[place]!, NARROW) >= NARROW
      }
      if (!added) {
        if (!wide) widen()
        if (!add(atom, place)) return false
      }
      chosen.push(atom)
      factor.solve(weights)
      return true
    },
    refine() {
      refined ??= refineOn(space, factor, dictionary, { chosen, weights, products, square })
      return refined
    },
  }
}

interface Rough {
  readonly chosen: readonly number[]
  readonly weights: Float64Array
  /** Room for products. */
  readonly products: Float64Array
  readonly square: number
}

/** Refines weights until nothing of what is left lies along a chosen row. Returns the squared norm of that. */
function refineOn(
  { kernels, target, residual, residualAt, rowAt }: Space,
  factor: Factor,
  { squares, width }: Dictionary,
  { chosen, weights, products, square }: Rough,
): number {
  residual.set(target)
  for (let i = 0; i < chosen.length; i++) kernels.addRow(residualAt, rowAt(i), -weights[i]!, width)
  const limit = (PRECISE * Math.sqrt(square)) ** 2
  for (let round = 0; round < ROUNDS; round++) {
    let worst = 0
    for (const [i, atom] of chosen.entries()) {
      products[i] = kernels.rowDot(rowAt(i), residualAt, width)
      worst = Math.max(worst, products[i]! ** 2 / squares[atom]!)
    }
    if (worst <= limit) break
    factor.solveFor(products)
    for (let i = 0; i < chosen.length; i++) {
      weights[i] = weights[i]! + products[i]!
      kernels.addRow(residualAt, rowAt(i), -products[i]!, width)
    }
  }
  return kernels.dot(residualAt, residualAt, width)
}
