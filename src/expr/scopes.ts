import { passesOf, settingsOf } from './cost.js'
import type { MergeExpr, PlanScope } from './types.js'

/** Collects the scopes of a plan while its steps are planned. */
export interface ScopeBook {
  readonly list: readonly PlanScope[]
  /** Adds the expression to the scope that its method requests, if any. */
  join(expr: MergeExpr, tensor: string, shape: readonly number[]): MergeExpr
}

export function scopeBook(): ScopeBook {
  const list: { tensors: { name: string; shape: readonly number[]; expr: MergeExpr }[] }[] = []
  const known = new Map<string, number>()
  return {
    list,
    join(expr, tensor, shape) {
      const { step, method, models } = expr
      // The scope does not depend on the seed.
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
