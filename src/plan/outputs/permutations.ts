/** Which permutations an output writes to a file of their own. */
import type { Value } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { OutputSpec, Recipe } from '../../recipe/types.js'
import { reachedFrom } from '../../recipe/uses.js'
import { type Analysis, analysisKindOf } from '../../steps/index.js'
import type { PlanOutput } from '../types.js'

/**
 * The steps that permute models on the way to an output, each with the tensors that keep their order. Error: `no-permutations` if
 * there is none, or one that does more than permute.
 */
export function exportedPermutations(
  recipe: Recipe,
  { at, from }: OutputSpec,
  values: ReadonlyMap<string, Value>,
  analyses: readonly Analysis[],
  faults: Faults,
): NonNullable<PlanOutput['permutations']> {
  const place = recipe.placeOf([...at, 'permutations'], 'key')
  const reached = reachedFrom(from, recipe.steps)
  const found: { step: string; untouched: readonly string[] }[] = []
  for (const analysis of analyses) {
    const { permutations } = analysisKindOf(analysis)
    const steps = analysis.steps.filter((step) => reached.has(step))
    if (!permutations || steps.length === 0) continue
    const why = permutations.refuse(analysis)
    if (why !== undefined)
      faults.error('no-permutations', `${steps[0]} ${why}`, place, 'remove permutations, or use symmetry: permutation')
    const ordered = permutations.tensors(analysis)
    for (const step of steps)
      found.push({ step, untouched: [...values.get(step)!.tensors.keys()].filter((name) => !ordered.has(name)) })
  }
  if (found.length === 0)
    faults.error(
      'no-permutations',
      `no step on the way to ${from} permutes a model, so there are no permutations to write`,
      place,
      'remove permutations, or write the result of a rebasin step',
    )
  return found
}
