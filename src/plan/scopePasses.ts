/** The passes of a method over all tensors of a step at once. */
import { passesOf, settingsOf } from '../expr/cost.js'
import type { PlanScope } from '../expr/types.js'
import type { ReducePass, TensorSettings } from '../methods/types.js'
import type { Plan } from './types.js'

/** The settings of a scope's first tensor, which are those of its passes. */
export function scopeSettings({ seed }: Pick<Plan, 'seed'>, { tensors }: PlanScope): TensorSettings {
  const { expr, name, shape } = tensors[0]!
  return settingsOf(expr, name, shape, seed)
}

export const scopeReduces = (plan: Pick<Plan, 'seed'>, scope: PlanScope): readonly ReducePass[] =>
  passesOf(scope.tensors[0]!.expr, scopeSettings(plan, scope)).scope?.reduces ?? []
