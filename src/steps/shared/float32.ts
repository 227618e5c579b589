/** Steps that compute whole tensors use float32. */

import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import { computeOf } from '../../expr/cost.js'
import type { ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead, StepCommon } from '../../language/types.js'

/**
 * Warns if float64 values lose precision that way. Other tensors with F64 inputs are computed in float64. `hint`: how
 * to avoid it. Warning: `computed-in-float32`.
 */
export function warnOfFloat32(
  recipe: RecipeHead,
  step: StepCommon,
  tensors: ReadonlyMap<string, ValueTensor>,
  faults: Faults,
  hint?: string,
): void {
  const narrow = [...tensors].flatMap(([name, { expr }]) =>
    expr.kind === 'computed' && expr.step === step.name && computeOf(recipe.compute, ...expr.inputs) === 'f64'
      ? [name]
      : [],
  )
  if (narrow.length === 0) return
  const [first] = narrow
  const message = `${quote(step.name)} computes ${plural(narrow.length, 'tensor')} in float32, such as ${first}: their float64 values are rounded to 24 bits, and those beyond 3.4e38 become infinite`
  faults.warn('computed-in-float32', message, recipe.placeOf(step.at, 'key'), hint, step.name)
}
