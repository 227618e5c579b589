/** Views of an adapter's tensors: reshaped, repeated, and with rows of zeros. */
import { elements } from '../core/dtypes.js'
import type { LoraFactor, ReadExpr } from '../expr/types.js'
import type { ValueTensor } from '../expr/values.js'
import { shapeOf } from '../views/shape.js'
import { type View, ZEROS } from '../views/types.js'

/** The view that a tensor of an adapter is read by. */
export function viewOf({ expr }: ValueTensor): View {
  if (expr.kind !== 'read') throw new Error('internal: an adapter with a tensor that is computed')
  return expr.view
}

export const read = (view: View): ReadExpr => ({ kind: 'read', view })

export const factor = (view: View, byRank: boolean): LoraFactor => ({ read: read(view), byRank })

export const reshape = (of: View, shape: readonly number[]): View => ({ kind: 'reshape', of, shape })

export const permute = (of: View, axes: readonly number[]): View => ({ kind: 'permute', of, axes })

/** The elements with a new axis, along which they are repeated. */
export function spread(of: View, axis: number, count: number): View {
  const shape = shapeOf(of).toSpliced(axis, 0, 1)
  return { kind: 'repeat', of: reshape(of, shape), axis, count }
}

/** One number per row, or per column, of a matrix; each is repeated along its row or column. */
export function along(of: View, per: 'rows' | 'columns', shape: readonly number[]): View {
  const [rows = 1, columns] = [shape[0], elements(shape.slice(1))]
  const flat = reshape(of, [elements(shapeOf(of))])
  return reshape(per === 'rows' ? spread(flat, 1, columns) : spread(flat, 0, rows), shape)
}

/** Rows of a tensor with `total` rows: those from `start` on are the view's, the others are zeros. */
export function padded(of: View, start: number, total: number): View {
  const count = shapeOf(of)[0]!
  const runs = [start, ZEROS, 0, count, 0, 0, total - start - count, ZEROS, 0]
  const some = [0, 3, 6].flatMap((at) => (runs[at]! > 0 ? runs.slice(at, at + 3) : []))
  return { kind: 'gather', of: [of], map: { rows: total, runs: some, means: [] } }
}
