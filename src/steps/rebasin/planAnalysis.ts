/** Plans the analysis of an alignment: the tensors to match, the models and the spec. */

import { sameShape } from '../../core/dtypes.js'
import type { AnalysisModel } from '../../expr/types.js'
import type { Value } from '../../expr/values.js'
import { type Faults, reportFault } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { refuseAnyPacked } from '../../networks/packed.js'
import { writeSpec } from '../../rebasin/spec.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import { planActivations } from './measured/plan.js'
import { planRotation } from './planRotation.js'
import { refuseNothing, specOf, warnOfAssumption } from './spec/of.js'
import type { Configs, RebasinAnalysis, RebasinStep } from './types.js'

export function planAnalysis(
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
    const turned =
      step.symmetry === 'orthogonal' ? planRotation(recipe, step, onto, moving, configs, faults) : undefined
    if (turned === 'refused') return undefined
    const found = specOf(recipe, step, onto, config)
    const assumed = turned ? undefined : found.assumed
    const { family, spec } = turned ? { family: turned.family, spec: { ...found.spec, kept: turned.kept } } : found
    if (spec.parts.length === 0 && !turned) {
      refuseNothing(step.onto, spec, assumed, place, faults)
      return undefined
    }
    if (assumed) warnOfAssumption(step.onto, assumed, place, faults)
    const names = turned ? [...onto.tensors.keys()] : [...new Set(spec.parts.map(({ tensor }) => tensor))]
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
    const command = recipe.outputs.find(({ evaluate }) => evaluate)?.evaluate?.command ?? []
    const activations = planActivations(recipe, step, spec, values, config, faults)
    if (activations === 'refused') return undefined
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
      ...(activations ? { activations } : {}),
      ...(step.restarts === undefined ? {} : { restarts: step.restarts }),
      ...(step.select ? { select: { ...step.select, command } } : {}),
    }
  } catch (error) {
    return reportFault(faults, error, place, { before: `${step.onto}: ` })
  }
}

/**
 * The model's name in the recipe, which ends the name of a step of a joint alignment. An earlier rebasin may have
 * replaced the model.
 */
function nameIn(recipe: RecipeHead, step: RebasinStep, model: string): string {
  const own = recipe.steps.find(
    (other): other is RebasinStep =>
      other.kind === 'rebasin' &&
      (other as RebasinStep).joint?.name === step.joint?.name &&
      (other as RebasinStep).model === model,
  )
  return own ? own.name.slice(step.joint!.name.length + 1) : model
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
      `${value.name} can't be aligned to ${onto.name}: ${what}`,
      place,
      'align two models of the same architecture',
    )
    break
  }
  return fits
}
