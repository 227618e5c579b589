/** A Tucker decomposition of a convolution: ΔW[o, i, …] = Σ a[r, o] · core[r, s, …] · b[s, i]. */
import { elements, sameShape } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import type { View } from '../../views/types.js'
import type { Product } from '../types.js'
import { factor, read, viewOf } from '../views.js'

/** Its core is in memory as a whole. */
const MOST_CORE = 1 << 22

/** The product for a weight of this shape; undefined if the tensors make another one. */
export function cored(
  core: ValueTensor,
  a: ValueTensor,
  b: ValueTensor,
  shape: readonly number[],
): Product | undefined {
  const [rank = 0, inner = 0, ...kernel] = core.shape
  const fits =
    sameShape(a.shape, [rank, shape[0]!]) &&
    sameShape(b.shape, [inner, shape[1]!]) &&
    elements(kernel) === elements(shape.slice(2)) &&
    elements(core.shape) <= MOST_CORE
  return fits ? coredProduct(viewOf(a), viewOf(b), core) : undefined
}

/** `left`: [rank, rows]; `right`: [inner, inputs]. */
export function coredProduct(left: View, right: View, core: ValueTensor): Product {
  const [rank = 0, inner = 0] = core.shape
  return {
    kind: 'product',
    rank,
    left: factor(left, true),
    right: { ...factor(right, true), core: { read: read(viewOf(core)), inner } },
  }
}
