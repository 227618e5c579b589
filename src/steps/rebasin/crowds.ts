/** Limits how many whole tensors nested alignments compute. */

import { computeOf } from '../../expr/cost.js'
import { scratchFault } from '../../expr/scratch.js'
import type { Expr } from '../../expr/types.js'
import type { ValueTensor } from '../../expr/values.js'
import { inputsOf, partsOf } from '../../expr/walk.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import type { RebasinStep } from './types.js'

/**
 * A permuted tensor is a new tensor, so nested alignments no longer share their inputs and the count can double with
 * each. It is checked after each alignment. Error: `too-many-inputs`.
 */
export function refuseCrowd(
  recipe: RecipeHead,
  step: RebasinStep,
  tensors: ReadonlyMap<string, ValueTensor>,
  faults: Faults,
): boolean {
  for (const [name, { expr, shape }] of tensors) {
    const times = computations(expr)
    const message =
      times > MOST_COMPUTATIONS
        ? `nested alignments need ${times} fully computed tensors for ${name}`
        : scratchFault(expr, name, shape, computeOf(recipe.compute, expr))?.message
    if (message === undefined) continue
    const hint = 'write the aligned model to an output, and align that output in another recipe'
    faults.error('too-many-inputs', message, recipe.placeOf(step.at, 'key'), hint)
    return true
  }
  return false
}

/** Tensors that are computed whole are not kept. A tensor with two readers is computed twice. */
const MOST_COMPUTATIONS = 1000

const counted = new WeakMap<Expr, number>()

/** The number of tensors that are computed whole for one tensor, including those that they need. */
function computations(expr: Expr): number {
  const known = counted.get(expr)
  if (known !== undefined) return known
  const own = expr.kind === 'computed'
  const parts = partsOf(own ? expr.inputs : [expr], (part) => (part.kind === 'computed' ? [] : inputsOf(part)))
  const below = parts.reduce((sum, part) => sum + (part.kind === 'computed' ? computations(part) : 0), 0)
  const all = below + (own ? 1 : 0)
  counted.set(expr, all)
  return all
}
