import { lookupMethod } from '../methods/registry.js'
import type { Passes, TensorSettings } from '../methods/types.js'
import type { Expr, MergeExpr, ReadExpr } from './types.js'

/** Every stored tensor that an expression reads, each as often as it is written in it. */
export function leavesOf(expr: Expr): ReadExpr[] {
  return expr.kind === 'read' ? [expr] : inputsOf(expr).flatMap(leavesOf)
}

/** What an expression is made of directly. */
export const inputsOf = (expr: Expr): readonly Expr[] =>
  expr.kind === 'read' ? [] : expr.kind === 'merge' && expr.base ? [...expr.inputs, expr.base] : expr.inputs

/** Merges inside an expression, inner ones first: the order in which their sums can be known. */
export function mergesOf(expr: Expr): MergeExpr[] {
  // What a step computes as a whole is there before the tensor's passes begin.
  return expr.kind === 'merge' ? [...inputsOf(expr).flatMap(mergesOf), expr] : []
}

/** What a merge's method gets to know of the tensor it makes. */
export const settingsOf = (
  { models, weights, parameters, base }: MergeExpr,
  tensor: string,
  shape: readonly number[],
  seed: number,
): TensorSettings => ({ tensor, shape, models, weights, parameters, seed, onBase: base !== undefined })

/** The passes of a merge's method over one tensor. */
export function passesOf(expr: MergeExpr, settings: TensorSettings): Passes {
  const method = lookupMethod(expr.method)
  if (!method) throw new Error(`internal: method ${expr.method} is not in the registry`)
  return method.passes(settings)
}

/** Bytes read for one tensor: once for the output, and once more for each reduce pass over a merge's inputs. */
export function bytesRead(expr: Expr, tensor: string, shape: readonly number[]): number {
  const once = (of: Expr) => leavesOf(of).reduce((sum, leaf) => sum + leaf.bytes, 0)
  // How many passes there are does not depend on the seed; those that turn out not to be needed are counted.
  const again = mergesOf(expr).map(
    (merge) =>
      passesOf(merge, settingsOf(merge, tensor, shape, 0)).reduces.filter((pass) => !pass.tile).length * once(merge),
  )
  return again.reduce((sum, bytes) => sum + bytes, once(expr))
}
