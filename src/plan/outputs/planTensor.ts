import type { PlacedTensor } from '../../checkpoints/types.js'
import { elements } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import type { PlanTensor } from '../types.js'

/** A tensor of an output that is stored as a whole. Written without spreading, which would use more memory: a model may have a million tensors. */
export function planTensor(placed: PlacedTensor, { expr, reason, rule, absent }: ValueTensor): PlanTensor {
  const { name, dtype, shape, bytes, file, offset } = placed
  const placements = [{ name, dtype, shape, file, offset, bytes, from: 0, count: elements(shape) }]
  const note = absent === undefined ? {} : { absent }
  if (reason === undefined)
    return rule === undefined
      ? { name, dtype, shape, placements, expr, ...note }
      : { name, dtype, shape, placements, expr, rule, ...note }
  return rule === undefined
    ? { name, dtype, shape, placements, expr, reason, ...note }
    : { name, dtype, shape, placements, expr, reason, rule, ...note }
}
