/** Analyses that choose by a metric need one output to measure it. */
import type { Faults } from '../language/faults.js'
import type { Recipe } from '../recipe/types.js'
import { reachedFrom } from '../recipe/uses.js'
import type { Analysis } from '../steps/index.js'
import type { PlanOutput } from './types.js'

/** Errors: `missing-key` without an evaluated output that depends on the choice, `contradiction` for several choices. */
export function refuseSelections(
  recipe: Recipe,
  analyses: readonly Analysis[],
  outputs: readonly PlanOutput[],
  faults: Faults,
): void {
  const selecting = analyses.filter(({ select }) => select)
  const [first, second] = selecting
  if (!first) return
  const placeOf = ({ steps }: Analysis) =>
    recipe.placeOf([...(recipe.steps.find(({ name }) => name === steps[0])?.at ?? []), 'select'], 'key')
  if (second) {
    const hint = 'select in one of them, align the others in a recipe of their own'
    faults.error('contradiction', `${first.steps[0]} and ${second.steps[0]} both select a seed`, placeOf(second), hint)
    return
  }
  const evaluated = outputs.filter(({ evaluate, point }) => evaluate && !point)
  const fits = ({ from }: PlanOutput) => {
    const reached = reachedFrom(from, recipe.steps)
    return first.steps.some((step) => reached.has(step))
  }
  if (evaluated.length === 1 && fits(evaluated[0]!)) return
  const what =
    evaluated.length > 1
      ? `the recipe evaluates ${evaluated.length} outputs`
      : evaluated.length === 0
        ? 'the recipe evaluates no output that is one checkpoint'
        : `the evaluated output does not depend on ${first.steps[0]}`
  const hint = 'write evaluate: {command: […]} for the output that is made with this alignment, and for no other'
  faults.error('missing-key', `select measures one output, but ${what}`, placeOf(first), hint)
}
