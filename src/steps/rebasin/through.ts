/** Expressions read through permutations. */
import { leavesOf, mergesOf } from '../../expr/cost.js'
import type { Expr, MergeExpr, ReadExpr } from '../../expr/types.js'
import type { ValueTensor } from '../../expr/values.js'
import { partsOf } from '../../expr/walk.js'
import { isNoise } from '../../methods/noise.js'
import { lookupMethod } from '../../methods/registry.js'
import { hasOtherRows, withFinding } from '../../views/stored.js'
import type { Finding } from '../../views/types.js'

/** These are computed whole before they are permuted: rows of several tensors have no common source to read from. */
export const isMadeWhole = ({ expr, shape }: ValueTensor): boolean =>
  leavesOf(expr).some(({ view }) => hasOtherRows(view)) || mergesOf(expr, shape).some(({ merge }) => isByPlace(merge))

/** These merges depend on the order of elements, so permuting their inputs gives another result. */
const isByPlace = ({ method, statistics }: MergeExpr): boolean =>
  isNoise(method) || lookupMethod(method)?.byPlace === true || statistics !== undefined

/**
 * Reads an expression through permutations. Merges work per element, so the permutations move down to the stored
 * tensors.
 */
export function through(expr: Expr, by: Finding): Expr {
  const known = new Map<Expr, Expr>()
  const below = (part: Expr): readonly Expr[] =>
    part.kind === 'merge'
      ? [...part.inputs, ...(part.base ? [part.base] : [])]
      : part.kind === 'lora' && part.base
        ? [part.base]
        : []
  for (const part of partsOf([expr], below))
    known.set(
      part,
      moved(part, by, (input) => known.get(input)!),
    )
  return known.get(expr)!
}

/** One part of an expression. `through`: its inputs, read through the permutations. */
function moved(expr: Expr, by: Finding, through: (input: Expr) => Expr): Expr {
  switch (expr.kind) {
    case 'read':
      return { kind: 'read', view: withFinding(expr.view, by) }
    case 'lora':
      return expr.base
        ? { ...expr, base: through(expr.base) as ReadExpr }
        : { ...expr, aligned: [...(expr.aligned ?? []), by] }
    case 'merge':
      return {
        ...expr,
        inputs: expr.inputs.map(through),
        ...(expr.base ? { base: through(expr.base) } : {}),
      }
    case 'crop':
      throw new Error('internal: rows of two kinds cannot be permuted')
    case 'constant':
      return expr
    case 'factor':
    case 'core':
      throw new Error('internal: an adapter cannot be permuted')
    case 'computed':
      return { ...expr, aligned: [...(expr.aligned ?? []), by] }
  }
}
