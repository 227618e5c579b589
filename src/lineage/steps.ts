import type { Plan } from '../plan/types.js'
import type { Recipe } from '../recipe/types.js'
import { reachedFrom, usesOf } from '../recipe/uses.js'
import type { Step, StepRecord } from '../steps/index.js'
import type { MergeSettings } from '../steps/merge/types.js'
import { recordOf } from './serialize.js'
import type { Json, Lineage } from './types.js'

const settingsText = ({ method, models }: MergeSettings): Readonly<Record<string, Json>> => ({ method, models })

function describe(
  step: Step,
  patterns: Plan['steps'][number]['patterns'],
  found: StepRecord | undefined,
): Readonly<Record<string, Json>> {
  const shared = {
    kind: step.kind,
    patterns: patterns.map(({ pattern, where, rule, matches, applies }) => ({
      pattern,
      where,
      ...(rule === undefined ? {} : { rule }),
      matches,
      applies,
    })),
  }
  if (step.kind !== 'merge')
    return { ...shared, models: [...new Set(usesOf(step))], ...(found as unknown as Record<string, Json>) }
  return {
    ...shared,
    base: step.base,
    ...settingsText(step.settings),
    ...(step.rules.length > 0 ? { rules: step.rules.map((rule) => settingsText(rule.settings)) } : {}),
  }
}

/**
 * What the lineage says of the steps that lead to `from`, by name. What a step did to one tensor stands with that
 * tensor, since rules and gradients make it differ from tensor to tensor.
 */
export function describeSteps(
  plan: Plan,
  recipe: Pick<Recipe, 'steps'>,
  from: string,
  found: ReadonlyMap<string, StepRecord>,
): Lineage['steps'] {
  const needed = reachedFrom(from, recipe.steps)
  const patterns = new Map(plan.steps.map((step) => [step.name, step.patterns]))
  return recordOf(
    recipe.steps
      .filter((step) => needed.has(step.name))
      .map((step) => [step.name, describe(step, patterns.get(step.name) ?? [], found.get(step.name))]),
  )
}
