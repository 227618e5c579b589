/** Plans the checkpoints that a step's check evaluates: the model before the step, and its result. */
import type { Value } from '../../expr/values.js'
import { faults as newFaults } from '../../language/faults.js'
import { kindOf } from '../../steps/index.js'
import { makingCost } from '../limits.js'
import type { PlanCheck, PlanOutput } from '../types.js'
import { commandOf, type OutputContext, planOutput } from './output.js'

/** `lost`: steps with an error. Errors are those of outputs; their warnings are given for the outputs themselves. */
export function planChecks(
  context: OutputContext,
  values: ReadonlyMap<string, Value>,
  lost: ReadonlySet<string>,
): PlanCheck[] {
  const { recipe, checkpoints } = context
  return recipe.steps.flatMap((step): PlanCheck[] => {
    const check = kindOf(step).check?.(step)
    if (!check || lost.has(step.name)) return []
    const { evaluate, tolerance, model } = check
    const faults = newFaults()
    const outputOf = (name: string, side: 'before' | 'after'): PlanOutput => {
      const value = values.get(name)!
      const spec = { at: step.at, path: `${step.name}-${side}`, resolved: '', from: step.name, metadata: {} }
      return {
        ...planOutput({ ...context, faults }, spec, 0, value),
        ...{ layout: 'folder', check: side, keep: false, evaluate: commandOf(evaluate) },
        ...(checkpoints.get(value.origin)!.layout === 'file' ? { single: true as const } : {}),
      }
    }
    const outputs = [outputOf(model, 'before'), outputOf(step.name, 'after')] as const
    for (const { severity, code, message, place, hint } of faults.list)
      if (severity === 'error') context.faults.error(code, message, place, hint)
    const cost = makingCost(
      outputs.flatMap(({ tensors }) => tensors),
      recipe.compute,
    )
    return [{ step: step.name, tolerance, outputs, cost }]
  })
}
