/** Tensors with a different number of rows per model: embeddings and heads of different vocabularies. */

import { sameShape } from '../../core/dtypes.js'
import type { CropExpr, Expr, MergeExpr } from '../../expr/types.js'
import type { ValueTensor } from '../../expr/values.js'
import { partsOf } from '../../expr/walk.js'

type Shape = readonly number[]

/** Whether two shapes differ only in the number of rows (the size of axis 0). Neither has 0 rows. */
export const sameColumns = (a: Shape, b: Shape): boolean =>
  a.length > 0 && a[0]! > 0 && b[0]! > 0 && sameShape([1, ...a.slice(1)], [1, ...b.slice(1)])

/** The shape of the rows that all models and the base have. */
export const commonRows = (base: Shape, shapes: readonly Shape[]): Shape => [
  Math.min(...[base, ...shapes].map(([rows]) => rows!)),
  ...base.slice(1),
]

/**
 * Makes expressions for the first rows. Each expression is cropped once, so that steps that use it twice still share
 * it. Of stored tensors, only these rows are read. Results of other steps have their own shape and are computed only
 * as far as needed.
 */
function firstRows(count: number): (expr: Expr, shape: Shape) => Expr {
  const made = new Map<Expr, Expr>()
  const make = (expr: Expr, shape: Shape): Expr => {
    if (expr.kind === 'merge' && !expr.shape) return { ...expr, shape }
    if (expr.kind !== 'read' || shape[0] === count) return expr
    return { kind: 'read', view: { kind: 'slice', of: expr.view, axis: 0, start: 0, count } }
  }
  return (expr, shape) => {
    const known = made.get(expr) ?? make(expr, shape)
    made.set(expr, known)
    return known
  }
}

/** Merges the first rows, which all models have. `shapes`: by input. */
export function mergeRows(expr: MergeExpr, base: Shape, shapes: readonly Shape[]): MergeExpr {
  const shape = commonRows(base, shapes)
  const part = firstRows(shape[0]!)
  return {
    ...expr,
    inputs: expr.inputs.map((input, index) => part(input, shapes[index]!)),
    ...(expr.base ? { base: part(expr.base, base) } : {}),
    shape,
  }
}

/** The merged rows, followed by the other rows of the base. */
export const withRest = (merge: MergeExpr, { shape, expr }: ValueTensor, shapes: readonly Shape[]): CropExpr => ({
  kind: 'crop',
  step: merge.step,
  shape,
  merge,
  base: expr,
  cropped: merge.models.filter((_, index) => shapes[index]![0] !== shape[0]),
})

/** Whether an expression depends on a cropped tensor. */
export const hasCrop = (expr: Expr): boolean => partsOf([expr]).some(({ kind }) => kind === 'crop')
