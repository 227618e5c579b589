/**
 * Orthogonal matching pursuit: chooses the row with the largest product with the residual, again and again, and fits all chosen rows.
 *
 * Products of the residual with all rows are known in float32, with a bound of their error. Where more than one row can have the
 * largest product, float64 decides, and the lowest index among equal products. So the choice does not depend on the precision of
 * the products.
 */
import { fitOf } from './fit.js'
import { productsOf } from './products.js'
import type { Space } from './space.js'
import type { PursuitTask } from './types.js'

/** What is left of a row is nothing, as a share of its norm. */
const SPENT = 1e-6
/** As a share of the square: from here on, the norm of the residual is computed from the residual. */
const NEAR = 1e-3
/** Changes of weights that are not applied may change no product by more than this share of the largest one. */
const LAG = 0.08
/** More rows than these are not compared one by one. */
const CROWD = 200
/** As a share of the largest product that is possible: below, there is none. */
const NOTHING = 1e-14

/** Approximates tokens, one after the other, on a thread's memory. */
export function ompOn(space: Space, task: PursuitTask): (token: number) => void {
  const { dictionary, gram, k } = task
  const { count, width } = dictionary
  const { kernels, residualAt, target } = space
  const fit = fitOf(space, dictionary, k)
  const { chosen, weights } = fit
  const products = productsOf(space, dictionary, gram!, fit, k)
  /** The row with the largest product in float64; -1 if no row has a product with what is left. */
  const exact = (candidates: readonly number[], norm: number): number => {
    fit.refine()
    let [best, most] = [-1, NOTHING * norm * products.longest]
    for (const atom of candidates) {
      space.load(dictionary, atom, k)
      const size = Math.abs(kernels.rowDot(space.rowAt(k), residualAt, width))
      if (size > most) [best, most] = [atom, size]
    }
    return best
  }
  const next = (norm: number): number => {
    const near = (): number[] => products.above(products.largest() - 2 * (products.lag() + products.rounding(norm)))
    let candidates = near()
    if (candidates.length > CROWD && products.lag() > products.rounding(norm)) {
      products.catchUp(0)
      candidates = near()
    }
    const round = products.rounding(norm)
    if (candidates.length > 1) candidates = products.corrected(candidates, round)
    // A product that may be nothing but rounding is computed again.
    return candidates.length === 1 && products.largest() > 2 * round ? candidates[0]! : exact(candidates, norm)
  }
  /** Chooses rows for a token of this norm. */
  const pursue = (norm: number): void => {
    let left = fit.square
    while (chosen.length < k && left > SPENT * SPENT * fit.square) {
      const atom = next(norm)
      if (atom < 0) return
      const added = fit.choose(atom, products.gramOf(atom))
      products.remove(atom)
      if (!added) continue
      left = fit.left < NEAR * fit.square ? fit.refine() : fit.left
      products.update(LAG)
    }
  }

  return (token) => {
    const at = token * k
    task.atoms.fill(-1, at, at + k)
    task.weights.fill(0, at, at + k)
    target.set(task.targets.subarray(token * width, (token + 1) * width))
    fit.begin()
    const norm = Math.sqrt(fit.square)
    task.residuals[token] = norm > 0 ? 1 : 0
    if (!(norm > 0 && norm < Number.POSITIVE_INFINITY)) return
    products.begin(task.products.subarray(token * count, (token + 1) * count))
    pursue(norm)
    const left = fit.refine()
    task.atoms.set(chosen, at)
    task.weights.set(weights.subarray(0, chosen.length), at)
    task.residuals[token] = Math.sqrt(left / fit.square)
  }
}
