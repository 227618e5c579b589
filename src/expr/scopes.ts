import { passesOf, settingsOf } from './cost.js'
import type { Expr, MergeExpr, PlanScope } from './types.js'
import { inputsOf } from './walk.js'

/** Collects the scopes of a plan while its steps are planned. */
export interface ScopeBook {
  readonly list: readonly PlanScope[]
  /** The expression, in the scope that its method asks for, if it asks for one. */
  join(expr: MergeExpr, tensor: string, shape: readonly number[]): MergeExpr
}

export function scopeBook(): ScopeBook {
  const list: { tensors: { name: string; shape: readonly number[]; expr: MergeExpr }[] }[] = []
  const known = new Map<string, number>()
  return {
    list,
    join(expr, tensor, shape) {
      const { step, method, models } = expr
      // What is looked at together does not depend on the seed.
      const { scope } = passesOf(expr, settingsOf(expr, tensor, shape, 0))
      if (!scope) return expr
      const key = JSON.stringify([step, method, models, scope.key])
      const index = known.get(key) ?? list.push({ tensors: [] }) - 1
      known.set(key, index)
      const joined = { ...expr, scopeIndex: index }
      list[index]!.tensors.push({ name: tensor, shape, expr: joined })
      return joined
    },
  }
}

/** The scopes that must be known before these expressions can be evaluated, by index: those of inner steps first. */
export function scopesOf(scopes: readonly PlanScope[], exprs: readonly Expr[]): number[] {
  const found = new Set<number>()
  const seen = new Set<Expr>()
  const visit = (expr: Expr): void => {
    if (seen.has(expr)) return
    seen.add(expr)
    for (const input of inputsOf(expr)) visit(input)
    if (expr.kind !== 'merge' || expr.scopeIndex === undefined || found.has(expr.scopeIndex)) return
    found.add(expr.scopeIndex)
    for (const tensor of scopes[expr.scopeIndex]!.tensors) visit(tensor.expr)
  }
  for (const expr of exprs) visit(expr)
  return [...found].sort((a, b) => a - b)
}
