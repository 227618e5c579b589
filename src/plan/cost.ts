import { lookupMethod } from '../methods/registry.js'
import type { Expr, MergeExpr, ReadExpr } from './types.js'

/** Every stored tensor that an expression reads, each as often as it is written in it. */
export function leavesOf(expr: Expr): ReadExpr[] {
  if (expr.kind === 'read') return [expr]
  return [...expr.inputs, ...(expr.base ? [expr.base] : [])].flatMap(leavesOf)
}

/** Merges inside an expression, inner ones first: the order in which their sums can be known. */
export function mergesOf(expr: Expr): MergeExpr[] {
  if (expr.kind === 'read') return []
  return [...[...expr.inputs, ...(expr.base ? [expr.base] : [])].flatMap(mergesOf), expr]
}

/** Bytes read for one tensor: once for the output, and once more for each reduce pass over a merge's inputs. */
export function bytesRead(expr: Expr): number {
  const once = (of: Expr) => leavesOf(of).reduce((sum, leaf) => sum + leaf.bytes, 0)
  return mergesOf(expr).reduce(
    (sum, merge) => sum + lookupMethod(merge.method)!.reduces.length * once(merge),
    once(expr),
  )
}
