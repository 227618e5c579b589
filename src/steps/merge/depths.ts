/** Checks that models have as many layers as the base. */

import { quote } from '../../core/suggest.js'
import type { Value } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { type Config, countOf } from '../../networks/layerCounts.js'
import { stacksOf } from '../../networks/layerNames.js'
import { mergeUses } from './readStep.js'
import type { MergeStep } from './types.js'

type ConfigOf = (model: string) => Config | undefined

/**
 * For mergekit configurations, because mergekit rejects them too: layers that only one of two models has are not
 * merged. Error: `bad-layers`.
 */
export function checkDepths(
  recipe: RecipeHead,
  step: MergeStep,
  values: ReadonlyMap<string, Value>,
  configOf: ConfigOf,
  faults: Faults,
): void {
  // Modules are joined by a passthrough of their own tensors.
  if (!recipe.converted || step.settings.method === 'passthrough') return
  const base = values.get(step.base)!
  const own = depthsOf(base, configOf)
  for (const name of new Set(mergeUses(step))) {
    if (name === step.base) continue
    for (const [prefix, depth] of depthsOf(values.get(name)!, configOf)) {
      const wanted = own.get(prefix)
      if (wanted === undefined || wanted === depth) continue
      const message = `${quote(name)} has ${depth} layers under ${prefix}, but ${quote(step.base)} has ${wanted}`
      const place = recipe.placeOf(step.at, 'key')
      const hint = `use slices to select matching layers, such as layers [0, ${Math.min(depth, wanted)}] of each model`
      faults.error('bad-layers', message, place, hint)
    }
  }
}

function depthsOf({ tensors, layers, origin }: Value, configOf: ConfigOf): Map<string, number> {
  const { list } = stacksOf(tensors.keys())
  return new Map(
    list.map((stack) => {
      const { prefix, depth } = stack
      const restacked = layers?.get(prefix)
      return [prefix, restacked ? depth - restacked.behind : countOf(configOf(origin), stack, list)]
    }),
  )
}
