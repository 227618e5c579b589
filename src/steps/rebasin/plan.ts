/** Plans a rebasin step. */
import { stackedLike, type Value, type ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import type { AnalysisCommon } from '../analysis.js'
import { hasCrop } from '../merge/crop.js'
import { warnOfFloat32 } from '../shared/float32.js'
import { refuseCrowd } from './crowds.js'
import { planGiven } from './given/plan.js'
import { planAnalysis } from './planAnalysis.js'
import { isMadeWhole, through } from './through.js'
import type { Configs, RebasinAnalysis, RebasinStep } from './types.js'

/**
 * The tensors of the aligned model, read through permutations that the run finds. A joint alignment is one analysis
 * with one step per model that moves. Its first step plans it. Errors: those of reading and inferring specs;
 * `spec-misfit` if a model has a tensor in another shape.
 */
export function planRebasin(
  recipe: RecipeHead,
  step: RebasinStep,
  values: ReadonlyMap<string, Value>,
  configs: Configs,
  analyses: AnalysisCommon[],
  faults: Faults,
): Value | undefined {
  const moving = values.get(step.model)!
  const group = step.joint?.name ?? step.name
  const known = analyses.find((analysis): analysis is RebasinAnalysis => {
    return analysis.kind === 'rebasin' && analysis.steps.some((name) => name === step.name)
  })
  const analysis =
    known ??
    (step.given ? planGiven(recipe, step, values, faults) : planAnalysis(recipe, step, group, values, configs, faults))
  if (!analysis) return undefined
  if (!known) analyses.push(analysis)
  const touched = new Set((analysis.given?.shapes ?? analysis.onto.tensors).map(({ name }) => name))
  const cropped = [...moving.tensors].find(([name, { expr }]) => touched.has(name) && hasCrop(expr))
  if (cropped) {
    faults.error(
      'no-alignment',
      `${step.model} can't be aligned: a merge cropped its tensor ${cropped[0]}`,
      recipe.placeOf(step.at, 'value'),
      'align the models before the merge',
    )
    return undefined
  }
  const tensors = new Map<string, ValueTensor>()
  for (const [name, tensor] of moving.tensors) {
    const { rule: _, ...rest } = tensor
    const moves = touched.has(name)
    const expr = !moves
      ? tensor.expr
      : analysis.symmetry === 'orthogonal' || isMadeWhole(tensor)
        ? { kind: 'computed' as const, step: step.name, tensor: name, shape: tensor.shape, inputs: [tensor.expr] }
        : through(tensor.expr, { step: step.name, tensor: name })
    tensors.set(name, { ...rest, expr, reason: moves ? 'aligned' : 'untouched' })
  }
  if (refuseCrowd(recipe, step, tensors, faults)) return undefined
  const hint = 'a permutation of a stored model (symmetry: permutation) keeps every bit'
  warnOfFloat32(recipe, step, tensors, faults, hint)
  return { name: step.name, tensors, origin: moving.origin, ...stackedLike(moving) }
}
