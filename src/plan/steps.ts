/** Plans a recipe's steps in order. Each step makes a value from earlier values. */
import { type ScopeBook, scopeBook } from '../expr/scopes.js'
import type { PlanFactoring } from '../expr/types.js'
import type { Value } from '../expr/values.js'
import type { Faults } from '../language/faults.js'
import type { Config } from '../networks/layerCounts.js'
import type { Recipe } from '../recipe/types.js'
import { usesOf } from '../recipe/uses.js'
import { type Analysis, kindOf } from '../steps/index.js'
import type { PlanContext, Way } from '../steps/types.js'
import type { adaptersAmong } from './adapter/among.js'
import { tiedValues } from './models/tied.js'
import type { Plan } from './types.js'

export interface PlannedSteps {
  readonly steps: Plan['steps']
  /** By step. */
  readonly ways: ReadonlyMap<string, Way>
  /** Steps that have an error, and all steps that depend on one: terge can't check them. */
  readonly lost: ReadonlySet<string>
  readonly analyses: readonly Analysis[]
  readonly scopes: ScopeBook['list']
  readonly factorings: readonly PlanFactoring[]
}

/** Adds the results of steps to `values`. `wrong`: steps whose adapters have an error. */
export function planSteps(
  recipe: Recipe,
  values: Map<string, Value>,
  {
    adapters,
    wrong,
    ...given
  }: ReturnType<typeof adaptersAmong> & Pick<PlanContext, 'rankOf' | 'tokenizers' | 'tokenizerOf' | 'ownHead'>,
  configOf: (model: string) => Config | undefined,
  complete: Parameters<typeof tiedValues>[4],
  faults: Faults,
): PlannedSteps {
  const steps: Plan['steps'][number][] = []
  const ways = new Map<string, Way>()
  const lost = new Set(wrong)
  const scopes = scopeBook()
  const analyses: Analysis[] = []
  const factorings: PlanFactoring[] = []
  for (const step of recipe.steps) {
    const { name, kind } = step
    if (lost.has(name) || usesOf(step).some((used) => lost.has(used))) {
      lost.add(name)
      continue
    }
    const read = tiedValues(recipe, step, values, configOf, complete, faults)
    const {
      value,
      way,
      patterns = [],
      left,
      says,
    } = kindOf(step).plan(step, {
      ...{ recipe, values: read, configOf, scopes, factorings, analyses, adapters, ...given, faults },
    })
    if (value) values.set(name, value)
    else if (way) ways.set(name, way)
    else lost.add(name)
    steps.push({ name, kind, patterns, ...(left ? { left } : {}), ...(says ? { says } : {}) })
  }
  return { steps, ways, lost, analyses, scopes: scopes.list, factorings }
}
