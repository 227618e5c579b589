/** Plans a zip step: the shapes of the result follow from the headers alone. */
import { sameShape } from '../../core/dtypes.js'
import { isFloat } from '../../encodings/index.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import { reportFault } from '../../language/faults.js'
import { refuseAnyPacked } from '../../networks/packed.js'
import { writeSpec } from '../../rebasin/spec.js'
import { newLength, type ZipNetwork } from '../../rebasin/zip/network.js'
import { hasCrop } from '../merge/crop.js'
import { refuseNothing, specOf, warnOfAssumption } from '../rebasin/spec/of.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import { warnOfFloat32 } from '../shared/float32.js'
import type { PlanContext } from '../types.js'
import { planZipActivations } from './activations.js'
import { configChange } from './config.js'
import { allSpecs } from './network.js'
import { outAxes } from './roles.js'
import type { ZipAnalysis, ZipStep } from './types.js'
import { planWidths } from './widths.js'

type Network = Omit<ZipNetwork, 'models'>

export function planZip(step: ZipStep, context: PlanContext): Value | undefined {
  const { recipe, values, analyses, faults } = context
  const models = step.models.map((name) => values.get(name)!)
  const [first] = models as [Value]
  if (refuseAnyPacked(recipe, models, step.at, faults)) return undefined
  const planned = planNetwork(step, context, models)
  if (!planned) return undefined
  const { network, analysis } = planned
  const shapes = resultShapes(step, context, models, network)
  if (!shapes) return undefined
  analyses.push(analysis)
  const tensors = new Map<string, ValueTensor>()
  const computed = new Set(analysis.models[0]!.tensors.map(({ name }) => name))
  for (const [name, { dtype, expr }] of first.tensors) {
    const shape = shapes.get(name)!
    const inputs = models.map(({ tensors }) => tensors.get(name)!.expr)
    if (!isFloat(dtype)) tensors.set(name, { dtype, shape, expr, reason: 'not-float' })
    else if (computed.has(name))
      tensors.set(name, {
        ...{ dtype, shape, reason: 'zipped' },
        expr: { kind: 'computed', step: step.name, tensor: name, shape, inputs },
      })
    else
      tensors.set(name, {
        ...{ dtype, shape },
        expr: {
          ...{ kind: 'merge', step: step.name, method: 'linear', models: step.models, inputs },
          ...{ weights: models.map(() => 1), parameters: { normalize: true } },
        },
      })
  }
  warnOfFloat32(recipe, step, tensors, faults)
  const sizes = configSizes(step, context, first, analysis)
  return { name: step.name, tensors, origin: first.origin, ...(sizes ? { sizes } : {}) }
}

/** The structure that all models have, and the analysis. Errors: those of specs, widths and activations. */
function planNetwork(
  step: ZipStep,
  { recipe, values, configOf, faults }: PlanContext,
  models: readonly Value[],
): { readonly network: Network; readonly analysis: ZipAnalysis } | undefined {
  const [first] = models as [Value]
  const place = recipe.placeOf([...step.at, 'spec'], 'value')
  const config = configOf(first.origin)
  const shapes = models.map(({ tensors }) => tensors)
  try {
    const { family, spec, assumed } = specOf(recipe, step, first, config)
    if (spec.parts.length === 0) {
      refuseNothing(first.name, spec, assumed, place, faults)
      return undefined
    }
    if (assumed) warnOfAssumption(first.name, assumed, place, faults)
    if (lacksTensors(step, recipe, models, faults)) return undefined
    const specs = allSpecs(spec, shapes)
    const planned = planWidths(recipe, step, specs, first.tensors, faults)
    if (!planned) return undefined
    const heads = [...first.tensors.keys()].filter((name) => step.heads.some(({ pattern }) => pattern.matches(name)))
    const network: Network = {
      ...{ specs, groups: planned.groups, heads: new Set(heads) },
      outAxes: outAxes(spec, first.tensors, config),
    }
    const measured = planZipActivations(recipe, step, network, values, faults)
    if (!measured) return undefined
    const names = [...new Set([...spec.parts.map(({ tensor }) => tensor), ...heads])]
    const { method, penalty, within } = step
    const analysis: ZipAnalysis = {
      ...{ kind: 'zip', steps: [step.name], method, penalty, within, family, heads },
      ...{ spec: writeSpec(spec, first.tensors), outAxes: network.outAxes },
      ...planned,
      models: models.map(({ name, tensors }) => ({
        name,
        tensors: names.map((tensor) => analysisTensor(tensor, tensors.get(tensor)!)),
      })),
      ...measured,
    }
    return { network, analysis }
  } catch (error) {
    return reportFault(faults, error, place, { before: 'zip: ' })
  }
}

const HINT = 'zip models of the same structure; only the sizes of their groups may differ'

function lacksTensors(
  step: ZipStep,
  recipe: PlanContext['recipe'],
  models: readonly Value[],
  faults: PlanContext['faults'],
): boolean {
  const [first] = models as [Value]
  for (const one of models)
    for (const other of models)
      for (const [name, { shape, expr }] of one.tensors) {
        const found = other.tensors.get(name)
        const what = !found
          ? `${other.name} has no tensor ${name}, which ${one.name} has`
          : found.shape.length !== shape.length
            ? `${name} has ${shape.length} axes in ${one.name} but ${found.shape.length} in ${other.name}`
            : hasCrop(expr)
              ? `a merge cropped the tensor ${name} of ${one.name}`
              : undefined
        if (what === undefined) continue
        faults.error(
          'spec-misfit',
          `${first.name} and ${models.at(-1)!.name} can't be zipped: ${what}`,
          recipe.placeOf(step.at, 'key'),
          HINT,
        )
        return true
      }
  return false
}

/** By tensor. Errors: `spec-misfit` if models differ beside the groups; `bad-value` for heads that are zipped themselves. */
function resultShapes(
  step: ZipStep,
  { recipe, faults }: PlanContext,
  models: readonly Value[],
  network: Network,
): Map<string, readonly number[]> | undefined {
  const shapes = new Map<string, readonly number[]>()
  const place = recipe.placeOf(step.at, 'key')
  for (const { pattern, at } of step.heads)
    if (![...network.heads].some((name) => pattern.matches(name))) {
      faults.error(
        'no-match',
        `the pattern ${pattern.text} matches no tensor of ${models[0]!.name}`,
        recipe.placeOf(at, 'value'),
      )
      return undefined
    }
  for (const [name, { shape, dtype }] of models[0]!.tensors) {
    const isHead = network.heads.has(name)
    const parts = network.specs[0]!.parts.filter((part) => part.tensor === name)
    if (isHead && (shape.length === 0 || parts.some(({ axis }) => axis === 0) || network.outAxes[name] !== undefined)) {
      faults.error(
        'bad-value',
        `${name} can't be a head: its outputs are units of a group`,
        recipe.placeOf(step.heads[0]!.at, 'value'),
        'list the weight and bias of the last layers',
      )
      return undefined
    }
    const all = models.map(({ tensors }, model) =>
      tensors.get(name)!.shape.map((old, axis) => newLength(network, model, name, axis, old)),
    )
    const made = all[0]!.slice()
    if (isHead) made[0] = all.reduce((sum, [rows]) => sum + rows!, 0)
    const other = all.findIndex((own) => !sameShape(own.slice(isHead ? 1 : 0), made.slice(isHead ? 1 : 0)))
    const otherKind = models.find(({ tensors }) => isFloat(tensors.get(name)!.dtype) !== isFloat(dtype))
    if (other > 0 || otherKind) {
      const [x, y] = [shape, models[Math.max(other, 1)]!.tensors.get(name)!.shape]
      const what = otherKind
        ? `${name} is not a floating-point tensor in all models`
        : `${name} is [${x.join(', ')}] in ${models[0]!.name} but [${y.join(', ')}] in ${models[other]!.name}, and the spec has no group there`
      const hint = otherKind ? HINT : `${HINT}. If these are outputs of different tasks, list the layer in heads`
      faults.error('spec-misfit', `the models can't be zipped: ${what}`, place, hint)
      return undefined
    }
    shapes.set(name, made)
  }
  return shapes
}

/** The sizes that config.json of the result has. Warning `zip-config` if it keeps one that is no longer right. */
function configSizes(
  step: ZipStep,
  { recipe, configOf, faults }: PlanContext,
  first: Value,
  { groups }: ZipAnalysis,
): Value['sizes'] {
  const own = configOf(first.origin)
  if (!own) return undefined
  const config = { ...own, ...first.sizes }
  const { changes, unknown } = configChange(config, groups)
  if (unknown !== undefined)
    faults.warn(
      'zip-config',
      `the group ${unknown} gets ${groups[unknown]!.width} units, and terge does not know which key of config.json has its size`,
      recipe.placeOf(step.at, 'key'),
      'change config.json of the output before you load it',
    )
  const sizes = { ...first.sizes, ...changes }
  return Object.keys(sizes).length > 0 ? sizes : undefined
}
