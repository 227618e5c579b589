import { recordOf } from '../core/collections/ownValue.js'
import type { Plan } from '../plan/types.js'
import type { Recipe } from '../recipe/types.js'
import { reachedFrom, usesOf } from '../recipe/uses.js'
import { type FoundRecord, kindOf, type StepRecord } from '../steps/index.js'
import type { CheckRecord } from '../steps/types.js'
import type { LineageStep } from './types.js'

/**
 * The records of the steps that lead to `from`, by name. What a step did to one tensor is recorded with that
 * tensor, because rules and gradients differ from tensor to tensor.
 */
export function describeSteps(
  plan: Plan,
  recipe: Pick<Recipe, 'steps'>,
  from: string,
  {
    found,
    checks,
  }: {
    readonly found?: ReadonlyMap<string, FoundRecord> | undefined
    readonly checks?: ReadonlyMap<string, CheckRecord> | undefined
  },
): Record<string, StepRecord> {
  const needed = reachedFrom(from, recipe.steps)
  const planned = new Map(plan.steps.map((step) => [step.name, step]))
  return recordOf(
    recipe.steps
      .filter((step) => needed.has(step.name))
      .map((step) => {
        const { patterns = [], says: own } = planned.get(step.name) ?? {}
        const says = own ?? kindOf(step).says?.(step) ?? { models: [...new Set(usesOf(step))] }
        const check = checks?.get(step.name)
        const record = {
          ...{ kind: step.kind, patterns },
          ...{ ...says, ...found?.get(step.name), ...(check ? { check } : {}) },
        }
        // The kind of step declares the type of this record.
        return [step.name, record as unknown as StepRecord]
      }),
  )
}

/** What a step left as it was, with reasons. Never throws. */
export const stepNotes = (step: LineageStep): readonly string[] =>
  step.kind === 'tokenizer' ? [] : (kindOf(step).notes?.(step) ?? [])

/** What a step did, in one line; undefined if there is nothing to report beyond the recipe. Never throws. */
export const stepLine = (name: string, step: LineageStep): string | undefined =>
  step.kind === 'tokenizer' ? undefined : kindOf(step).line?.(name, step)
