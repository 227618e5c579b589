import type { AnalysisTensor, Expr } from '../../expr/types.js'
import { stackedLike, type Value, type ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { lookupMethod } from '../../methods/registry.js'
import { normFeeds } from '../../rebasin/repair.js'
import type { AnalysisCommon } from '../analysis.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import { warnOfFloat32 } from '../shared/float32.js'
import type { RepairAnalysis, RepairStep } from './types.js'

/**
 * Plans a repair: recomputes the running variances of an average from those of the averaged models. Error:
 * `no-repair` if the model is not an average, or has no BatchNorm that can be repaired.
 */
export function planRepair(
  recipe: RecipeHead,
  step: RepairStep,
  values: ReadonlyMap<string, Value>,
  analyses: AnalysisCommon[],
  faults: Faults,
): Value | undefined {
  const model = values.get(step.model)!
  const { norms, left } = repairable(model)
  if (norms.length === 0) {
    const why = Object.entries(left)[0]
    const hint = why ? `${why[0]}: ${why[1]}` : 'the model has no BatchNorm with running statistics'
    faults.error(
      'no-repair',
      `${step.model} has no BatchNorm that can be repaired`,
      recipe.placeOf(step.at, 'value'),
      hint,
    )
    return undefined
  }
  const analysis: RepairAnalysis = { kind: 'repair', steps: [step.name], norms, left }
  analyses.push(analysis)
  const tensors = new Map(model.tensors)
  for (const { tensor, variances, filters } of norms) {
    const { dtype, shape } = model.tensors.get(tensor)!
    const inputs = [...variances, ...filters].map(({ expr }) => expr)
    tensors.set(tensor, {
      dtype,
      shape,
      expr: { kind: 'computed', step: step.name, tensor, shape, inputs },
      reason: 'repaired',
    })
  }
  warnOfFloat32(recipe, step, tensors, faults)
  return { name: step.name, tensors, origin: model.origin, ...stackedLike(model) }
}

/** The norms whose variances can be computed, and for the others the reasons. */
function repairable(model: Value): Pick<RepairAnalysis, 'norms' | 'left'> {
  const { feeds, left } = normFeeds(model.tensors)
  const kept: Record<string, string> = { ...left }
  const norms = feeds.flatMap(({ variance, weight }) => {
    const [own, filter] = [model.tensors.get(variance)!, model.tensors.get(weight)!]
    const { expr } = own
    if (
      expr.kind !== 'merge' ||
      filter.expr.kind !== 'merge' ||
      expr.method !== 'linear' ||
      filter.expr.method !== 'linear'
    ) {
      kept[variance] = 'it is not averaged, or the layer that feeds the norm is not'
      return []
    }
    if (expr.models.join('\0') !== filter.expr.models.join('\0')) {
      kept[variance] = 'other models were averaged in the layer that feeds the norm'
      return []
    }
    const tensor =
      (name: string, of: ValueTensor) =>
      (input: Expr): AnalysisTensor => ({ ...analysisTensor(name, of), expr: input })
    return [
      {
        tensor: variance,
        // The weights of the filters: they are the weights of the sum of the units' values.
        weights: lookupMethod('linear')!
          .effective(filter.expr)
          .map((weight) => weight ?? 0),
        variances: expr.inputs.map(tensor(variance, own)),
        filters: filter.expr.inputs.map(tensor(weight, filter)),
      },
    ]
  })
  return { norms, left: kept }
}
