import { sameShape } from '../../core/dtypes.js'
import { isFloat } from '../../encodings/index.js'
import type { AnalysisTensor, Expr } from '../../expr/types.js'
import { stackedLike, type Value, type ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { MeasuredFile, RecipeHead, StepCommon } from '../../language/types.js'
import { lookupMethod } from '../../methods/registry.js'
import { normFeeds } from '../../rebasin/repair.js'
import type { AnalysisCommon } from '../analysis.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import { warnOfFloat32 } from '../shared/float32.js'
import type { BatchNormRepair, RepairAnalysis, RepairStep } from './types.js'

/** What planning a repair needs. */
export interface RepairContext {
  readonly recipe: RecipeHead
  readonly values: ReadonlyMap<string, Value>
  readonly analyses: AnalysisCommon[]
  readonly faults: Faults
}

/**
 * Plans a repair: recomputes the running variances of an average from those of the averaged models, or takes measured
 * statistics. Error: `no-repair` if the model is not an average, or has no BatchNorm that can be repaired.
 */
export function planRepair(step: RepairStep, context: RepairContext): Value | undefined {
  return repaired(step, step.batchNorm, [{ step: step.name, value: context.values.get(step.model)! }], context)?.[0]
}

/** A model to repair, and the name of the step that repairs it. */
export interface Repairable {
  readonly step: string
  readonly value: Value
  /** The weights of the averaged models, if they are not those of all. */
  readonly weights?: readonly number[]
}

/** The models with repaired norms: models of one structure, averages of the same models. */
export function repaired(
  at: StepCommon,
  batchNorm: BatchNormRepair,
  models: readonly Repairable[],
  context: RepairContext,
): Value[] | undefined {
  const { recipe, analyses, faults } = context
  const [first] = models
  const steps = models.map(({ step }) => step)
  const found =
    batchNorm === 'correlation'
      ? byCorrelation(at, first!, models, context)
      : bySamples(at, batchNorm.statistics, models, context)
  if (!found) return undefined
  analyses.push({ kind: 'repair', steps, ...found } as RepairAnalysis)
  return models.map(({ step, value }, index) => {
    const tensors = new Map(value.tensors)
    const set = (tensor: string, inputs: readonly AnalysisTensor[]) => {
      const { dtype, shape } = value.tensors.get(tensor)!
      const expr = { kind: 'computed' as const, step, tensor, shape, inputs: inputs.map(({ expr }) => expr) }
      tensors.set(tensor, { dtype, shape, expr, reason: 'repaired' })
    }
    for (const { tensor, variances, filters } of found.norms) set(tensor, [...variances, ...filters])
    for (const { tensor, statistics } of found.measured ?? []) set(tensor, [statistics[index]!])
    warnOfFloat32(recipe, { ...at, name: step }, tensors, faults)
    return { name: step, tensors, origin: value.origin, ...stackedLike(value) }
  })
}

type Planned = Pick<RepairAnalysis, 'norms' | 'left' | 'points' | 'measured'>

function byCorrelation(
  at: StepCommon,
  { value }: Repairable,
  models: readonly Repairable[],
  { recipe, faults }: RepairContext,
): Planned | undefined {
  const { norms, left } = repairable(value)
  if (norms.length === 0) {
    const why = Object.entries(left)[0]
    const hint = why ? `${why[0]}: ${why[1]}` : 'the model has no BatchNorm with running statistics'
    faults.error(
      'no-repair',
      `${value.name} has no BatchNorm that can be repaired`,
      recipe.placeOf(at.at, 'value'),
      hint,
    )
    return undefined
  }
  const points = models.flatMap(({ weights }) => (weights ? [weights] : []))
  return { norms, left, ...(points.length > 0 ? { points } : {}) }
}

const STATISTIC = /(^|\.)running_(mean|var)$/

/** Errors: `no-repair` without BatchNorms, `missing-statistics` and `bad-statistics` for files that do not fit. */
function bySamples(
  at: StepCommon,
  files: readonly MeasuredFile[],
  models: readonly Repairable[],
  { recipe, values, faults }: RepairContext,
): Planned | undefined {
  const { value } = models[0]!
  const own = [...value.tensors].filter(([name, { dtype }]) => STATISTIC.test(name) && isFloat(dtype))
  if (own.length === 0) {
    const hint = 'the model has no BatchNorm with running statistics'
    faults.error(
      'no-repair',
      `${value.name} has no BatchNorm that can be repaired`,
      recipe.placeOf(at.at, 'value'),
      hint,
    )
    return undefined
  }
  for (const { of, file, at: place } of files) {
    const { tensors } = values.get(file)!
    const wrong = own.find(
      ([name, { shape }]) => !sameShape(tensors.get(name)?.shape ?? [], shape) || !isFloat(tensors.get(name)!.dtype),
    )
    if (!wrong) continue
    const [name, { shape }] = wrong
    const found = tensors.get(name)
    const has = found ? `${name} is ${found.dtype}[${found.shape.join(', ')}]` : `no tensor ${name}`
    faults.error(
      found ? 'bad-statistics' : 'missing-statistics',
      found
        ? `in the statistics of ${of}, ${has}, but [${shape.join(', ')}] in the model`
        : `the statistics of ${of} have ${has}`,
      recipe.placeOf(place, 'value'),
      'store the running_mean and running_var of every BatchNorm under their names in the model',
    )
    return undefined
  }
  const measured = own.map(([tensor]) => ({
    tensor,
    statistics: files.map(({ file }) => analysisTensor(tensor, values.get(file)!.tensors.get(tensor)!)),
  }))
  return { norms: [], left: {}, measured }
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
