import { sameShape } from '../../core/dtypes.js'
import { isFloat } from '../../encodings/index.js'
import type { ValueTensor } from '../../expr/values.js'
import type { Path } from '../../language/types.js'
import type { PlanContext } from '../types.js'

export type Refuse = (message: string, hint: string, at?: Path) => undefined

/** Reports why there is no mixture: at the step, or at one of its values. Error: `bad-mixture`. */
export const refusing =
  ({ recipe, faults }: PlanContext, step: Path): Refuse =>
  (message, hint, at = step) => {
    faults.error('bad-mixture', message, recipe.placeOf(at, at === step ? 'key' : 'value'), hint)
    return undefined
  }

export const isMatrix = (tensor: ValueTensor, shape: readonly number[]): boolean =>
  isFloat(tensor.dtype) && sameShape(tensor.shape, shape)

/** A tensor as the base has it. */
export function ofBase({ rule: _, ...tensor }: ValueTensor): ValueTensor {
  return tensor.expr.kind === 'read' ? { ...tensor, reason: 'mixture' } : tensor
}
