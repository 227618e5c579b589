/** Expressions that are read through permutations. */
import { leavesOf, mergesOf } from '../../expr/cost.js'
import type { Expr, MergeExpr, ReadExpr } from '../../expr/types.js'
import type { ValueTensor } from '../../expr/values.js'
import { partsOf } from '../../expr/walk.js'
import { lookupMethod } from '../../methods/registry.js'
import { hasOtherRows, withFinding } from '../../views/stored.js'
import type { Finding } from '../../views/types.js'

/** What is made whole before it is permuted: rows of several tensors have no common places to be read from. */
export const isMadeWhole = ({ expr, shape }: ValueTensor): boolean =>
  leavesOf(expr).some(({ view }) => hasOtherRows(view)) || mergesOf(expr, shape).some(({ merge }) => isByPlace(merge))

/** A merge of permuted tensors is not the merge permuted. */
const isByPlace = ({ method, statistics }: MergeExpr): boolean =>
  lookupMethod(method)?.byPlace === true || statistics !== undefined

/** An expression read through permutations: they go down to where elements are stored, for merges work element by element. */
export function through(expr: Expr, by: Finding): Expr {
  const known = new Map<Expr, Expr>()
  const below = (part: Expr): readonly Expr[] =>
    part.kind === 'merge'
      ? [...part.inputs, ...(part.base ? [part.base] : [])]
      : part.kind === 'lora'
        ? [part.base]
        : []
  for (const part of partsOf([expr], below))
    known.set(
      part,
      moved(part, by, (input) => known.get(input)!),
    )
  return known.get(expr)!
}

/** One part of it. `through`: of what it is made of. */
function moved(expr: Expr, by: Finding, through: (input: Expr) => Expr): Expr {
  switch (expr.kind) {
    case 'read':
      return { kind: 'read', view: withFinding(expr.view, by) }
    case 'lora':
      return { ...expr, base: through(expr.base) as ReadExpr }
    case 'merge':
      return {
        ...expr,
        inputs: expr.inputs.map(through),
        ...(expr.base ? { base: through(expr.base) } : {}),
      }
    case 'crop':
      throw new Error('internal: rows of two kinds cannot be permuted')
    case 'factor':
      throw new Error('internal: an adapter cannot be permuted')
    case 'computed':
      return { ...expr, aligned: [...(expr.aligned ?? []), by] }
  }
}
