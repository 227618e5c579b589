import { Fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { computeOf, leavesOf, mergesOf } from '../../expr/cost.js'
import type { Alignment, AnalysisModel, AnalysisTensor, Expr, MergeExpr, ReadExpr } from '../../expr/types.js'
import { sameShape, stackedLike, type Value, type ValueTensor } from '../../expr/values.js'
import { partsOf } from '../../expr/walk.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { lookupMethod } from '../../methods/registry.js'
import { refuseAnyPacked } from '../../networks/packed.js'
import { inferSpec } from '../../rebasin/infer/index.js'
import { onnxSpec } from '../../rebasin/onnx/index.js'
import { orthogonalObstacle } from '../../rebasin/orthogonal.js'
import { normFeeds } from '../../rebasin/repair.js'
import { readSpec, type Spec, writeSpec } from '../../rebasin/spec.js'
import type { Analysis } from '../index.js'
import { hasCrop } from '../merge/crop.js'
import type { RepairStep } from '../repair/types.js'
import { refuseCrowd } from './crowds.js'
import type { RebasinAnalysis, RebasinStep } from './types.js'

/** What planning an alignment needs of the models' configurations. */
export type Configs = (model: string) => Readonly<Record<string, unknown>> | undefined

/**
 * A rebasin step as a value: the tensors of the model that moves, read through permutations that are found when the plan is
 * run. A joint alignment is one analysis, and a step a model that moves; its first step plans it.
 * Faults: those of reading and inferring specs, `spec-misfit` where a model has a tensor in another shape.
 */
export function planRebasin(
  recipe: RecipeHead,
  step: RebasinStep,
  values: ReadonlyMap<string, Value>,
  configs: Configs,
  analyses: Analysis[],
  faults: Faults,
): Value | undefined {
  const moving = values.get(step.model)!
  const group = step.joint?.name ?? step.name
  const known = analyses.find((analysis): analysis is RebasinAnalysis => {
    return analysis.kind === 'rebasin' && analysis.steps.some((name) => name === step.name)
  })
  const analysis = known ?? planAnalysis(recipe, step, group, values, configs, faults)
  if (!analysis) return undefined
  if (!known) analyses.push(analysis)
  const touched = new Set(analysis.onto.tensors.map(({ name }) => name))
  const cropped = [...moving.tensors].find(([name, { expr }]) => touched.has(name) && hasCrop(expr))
  if (cropped) {
    faults.error(
      'no-alignment',
      `${step.model} cannot be aligned: its tensor ${cropped[0]} was cropped to the rows that models have in common`,
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
        : through(tensor.expr, tensor.shape, { step: step.name, tensor: name })
    tensors.set(name, { ...rest, expr, reason: moves ? 'aligned by a rebasin' : 'not touched by the alignment' })
  }
  if (refuseCrowd(recipe, step, tensors, faults)) return undefined
  warnOfFloat32(recipe, step, tensors, faults)
  return { name: step.name, tensors, origin: moving.origin, ...stackedLike(moving) }
}

/** What is computed whole is float32, where all else that comes from tensors stored as F64 is float64. */
function warnOfFloat32(
  recipe: RecipeHead,
  step: RebasinStep | RepairStep,
  tensors: ReadonlyMap<string, ValueTensor>,
  faults: Faults,
): void {
  const narrow = [...tensors].flatMap(([name, { expr }]) =>
    expr.kind === 'computed' && expr.step === step.name && computeOf(recipe.compute, ...expr.inputs) === 'f64'
      ? [name]
      : [],
  )
  if (narrow.length === 0) return
  const [first] = narrow
  const message = `${quote(step.name)} computes ${narrow.length} tensor${narrow.length === 1 ? '' : 's'} in float32, such as ${first}: their float64 values are rounded to 24 bits, and those beyond 3.4e38 become infinite`
  const hint =
    step.kind === 'rebasin' ? 'a permutation of a stored model (symmetry: permutation) keeps every bit' : undefined
  faults.warn('computed-in-float32', message, recipe.placeOf(step.at, 'key'), hint, step.name)
}

/** What is made whole before it is permuted: rows of several tensors have no common places to be read from. */
const isMadeWhole = ({ expr, shape }: ValueTensor): boolean =>
  leavesOf(expr).some(({ rows }) => rows) || mergesOf(expr, shape).some(({ merge }) => isByPlace(merge))

/** A merge of permuted tensors is not the merge permuted. */
const isByPlace = ({ method, statistics }: MergeExpr): boolean =>
  lookupMethod(method)?.byPlace === true || statistics !== undefined

/** An expression read through permutations: they go down to where elements are stored, for merges work element by element. */
function through(expr: Expr, shape: readonly number[], by: Alignment): Expr {
  const known = new Map<Expr, Expr>()
  const below = (part: Expr): readonly Expr[] =>
    part.kind === 'merge'
      ? [...part.inputs, ...(part.base ? [part.base] : [])]
      : part.kind === 'lora'
        ? [part.base]
        : []
  for (const part of partsOf([expr], below))
    known.set(
      part,
      moved(part, shape, by, (input) => known.get(input)!),
    )
  return known.get(expr)!
}

/** One part of it. `through`: of what it is made of. */
function moved(expr: Expr, shape: readonly number[], by: Alignment, through: (input: Expr) => Expr): Expr {
  switch (expr.kind) {
    case 'read':
      return { ...expr, aligned: { shape, by: [...(expr.aligned?.by ?? []), by] } }
    case 'lora':
      return { ...expr, base: through(expr.base) as ReadExpr }
    case 'merge':
      return {
        ...expr,
        inputs: expr.inputs.map(through),
        ...(expr.base ? { base: through(expr.base) } : {}),
      }
    case 'crop':
      throw new Error('internal: rows of two kinds cannot be permuted')
    case 'factor':
      throw new Error('internal: an adapter cannot be permuted')
    case 'computed':
      return { ...expr, aligned: [...(expr.aligned ?? []), by] }
  }
}

function planAnalysis(
  recipe: RecipeHead,
  step: RebasinStep,
  group: string,
  values: ReadonlyMap<string, Value>,
  configs: Configs,
  faults: Faults,
): RebasinAnalysis | undefined {
  const onto = values.get(step.onto)!
  const moving = (step.joint?.models.slice(1) ?? [step.model]).map((name) => values.get(name)!)
  const place = recipe.placeOf([...step.at, 'spec'], 'value')
  if (refuseAnyPacked(recipe, [onto, ...moving], step.at, faults)) return undefined
  const config = configs(onto.origin)
  try {
    const { family, spec } = specOf(recipe, step, onto, config)
    if (spec.parts.length === 0) {
      const why = Object.entries(spec.kept)[0]
      const hint = why ? `${why[0]}: ${why[1]}` : 'write a spec, or let it be read from an ONNX export'
      faults.warn(
        'nothing-to-permute',
        `nothing of ${step.onto} can be permuted: this rebasin changes nothing`,
        place,
        hint,
      )
    }
    if (step.symmetry === 'orthogonal') {
      const obstacle = orthogonalObstacle({ tensors: onto.tensors, ...(config ? { config } : {}) })
      const built = moving.find(({ tensors }) =>
        [...tensors.values()].some(({ expr }) => expr.kind !== 'read' || expr.aligned),
      )
      const what =
        obstacle ??
        (built && `${built.name} is the result of a step: rotations are found for models as they are stored`)
      if (what !== undefined) {
        faults.error(
          'no-orthogonal',
          `symmetry: orthogonal is not possible here: ${what}`,
          recipe.placeOf([...step.at, 'symmetry']),
          'symmetry: permutation aligns what can be permuted',
        )
        return undefined
      }
    }
    const names =
      step.symmetry === 'orthogonal' ? [...onto.tensors.keys()] : [...new Set(spec.parts.map(({ tensor }) => tensor))]
    const fits = moving.map((value) => checkShapes(recipe, step, names, onto, value, faults))
    if (fits.includes(false)) return undefined
    const steps = step.joint
      ? step.joint.models.slice(1).map((model) => `${group}.${nameIn(recipe, step, model)}`)
      : [step.name]
    const model = (value: Value): AnalysisModel => {
      const own = configs(value.origin)
      return {
        name: value.name,
        tensors: names.map((name) => analysisTensor(name, value.tensors.get(name)!)),
        ...(own ? { config: own } : {}),
      }
    }
    const { method, symmetry, seed, maxIterations } = step
    return {
      kind: 'rebasin',
      steps,
      method,
      symmetry,
      seed,
      maxIterations,
      family,
      spec: writeSpec(spec, onto.tensors),
      onto: model(onto),
      models: moving.map(model),
    }
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    for (const { code, message, hint, place: own } of error.diagnostics)
      faults.error(code, `${step.onto}: ${message}`, own ?? place, hint)
    return undefined
  }
}

/** A joint step's name ends in the model's name as the recipe writes it, also where an earlier rebasin replaced that model. */
function nameIn(recipe: RecipeHead, step: RebasinStep, model: string): string {
  const own = recipe.steps.find(
    (other): other is RebasinStep =>
      other.kind === 'rebasin' &&
      (other as RebasinStep).joint?.name === step.joint?.name &&
      (other as RebasinStep).model === model,
  )
  return own ? own.name.slice(step.joint!.name.length + 1) : model
}

function specOf(
  recipe: RecipeHead,
  step: RebasinStep,
  onto: Value,
  config: Readonly<Record<string, unknown>> | undefined,
): { family: string; spec: Spec } {
  if (typeof step.spec === 'object' && 'inline' in step.spec) {
    const { onnx } = step.spec.inline
    if (onnx) return { family: 'onnx', spec: onnxSpec(onnx, onto.tensors) }
    const placeOf = step.spec.placeOf ?? ((at) => recipe.placeOf([...step.at, 'spec', ...at], 'value'))
    return { family: 'written', spec: readSpec(step.spec.inline, onto.tensors, placeOf) }
  }
  if (typeof step.spec === 'object' && 'file' in step.spec) throw new Error('internal: a spec file that was not read')
  return inferSpec(
    { tensors: onto.tensors, ...(config ? { config } : {}) },
    step.spec === 'auto' ? 'auto' : step.spec.family,
  )
}

function checkShapes(
  recipe: RecipeHead,
  step: RebasinStep,
  names: readonly string[],
  onto: Value,
  value: Value,
  faults: Faults,
): boolean {
  const place = recipe.placeOf(step.at, 'value')
  let fits = true
  for (const name of names) {
    const [expected, found] = [onto.tensors.get(name)!, value.tensors.get(name)]
    if (found && sameShape(found.shape, expected.shape)) continue
    fits = false
    const axis = found?.shape.findIndex((size, axis) => size !== expected.shape[axis]) ?? -1
    const what = !found
      ? `${value.name} has no tensor ${name}`
      : `${name} is [${found.shape.join(', ')}] in ${value.name} but [${expected.shape.join(', ')}] in ${onto.name}: axis ${Math.max(axis, 0)} differs`
    faults.error(
      'spec-misfit',
      `${value.name} cannot be aligned onto ${onto.name}: ${what}`,
      place,
      'only networks of one architecture can be aligned',
    )
    break
  }
  return fits
}

const analysisTensor = (name: string, { dtype, shape, expr }: ValueTensor): AnalysisTensor => ({
  name,
  dtype,
  shape,
  expr,
})

/**
 * A repair step as a value: running variances of an average are computed anew from those of the averaged models.
 * Fault: `no-repair` where the model is no average, or has no BatchNorm that can be repaired.
 */
export function planRepair(
  recipe: RecipeHead,
  step: RepairStep,
  values: ReadonlyMap<string, Value>,
  analyses: Analysis[],
  faults: Faults,
): Value | undefined {
  const model = values.get(step.model)!
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
        // The filters' weights: they are what the units' values are added up with.
        weights: lookupMethod('linear')!
          .effective(filter.expr)
          .map((weight) => weight ?? 0),
        variances: expr.inputs.map(tensor(variance, own)),
        filters: filter.expr.inputs.map(tensor(weight, filter)),
      },
    ]
  })
  if (norms.length === 0) {
    const why = Object.entries(kept)[0]
    const hint = why ? `${why[0]}: ${why[1]}` : 'the model has no BatchNorm with running statistics'
    faults.error(
      'no-repair',
      `${step.model} has no BatchNorm that can be repaired`,
      recipe.placeOf(step.at, 'value'),
      hint,
    )
    return undefined
  }
  analyses.push({ kind: 'repair', step: step.name, norms, left: kept })
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
