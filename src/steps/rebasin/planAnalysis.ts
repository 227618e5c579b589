/** Plans the analysis of an alignment: the tensors to match, the models and the spec. */

import { Fault } from '../../core/diagnostics.js'
import type { AnalysisModel } from '../../expr/types.js'
import { sameShape, type Value } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { refuseAnyPacked } from '../../networks/packed.js'
import { orthogonalObstacle } from '../../rebasin/orthogonal/form.js'
import { writeSpec } from '../../rebasin/spec.js'
import { lastFinding } from '../../views/stored.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import { planActivations } from './measured/plan.js'
import { refuseNothing, specOf, warnOfAssumption } from './spec/of.js'
import type { RebasinAnalysis, RebasinStep } from './types.js'

/** What planning needs from the configurations of the models. */
export type Configs = (model: string) => Readonly<Record<string, unknown>> | undefined

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
    const { family, spec, assumed } = specOf(recipe, step, onto, config)
    if (spec.parts.length === 0 && step.symmetry === 'permutation') {
      refuseNothing(step.onto, spec, assumed, place, faults)
      return undefined
    }
    if (assumed) warnOfAssumption(step.onto, assumed, place, faults)
    if (step.symmetry === 'orthogonal' && !allowsRotation(recipe, step, onto, moving, config, faults)) return undefined
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
    if (!(error instanceof Fault)) throw error
    for (const { code, message, hint, place: own } of error.diagnostics)
      faults.error(code, `${step.onto}: ${message}`, own ?? place, hint)
    return undefined
  }
}

/** Whether an orthogonal alignment is possible. Error: `no-orthogonal`. */
function allowsRotation(
  recipe: RecipeHead,
  step: RebasinStep,
  onto: Value,
  moving: readonly Value[],
  config: Readonly<Record<string, unknown>> | undefined,
  faults: Faults,
): boolean {
  const obstacle = orthogonalObstacle({ tensors: onto.tensors, ...(config ? { config } : {}) })
  const built = moving.find(({ tensors }) =>
    [...tensors.values()].some(({ expr }) => expr.kind !== 'read' || lastFinding(expr.view) !== undefined),
  )
  const what =
    obstacle ?? (built && `${built.name} is the result of a step: orthogonal symmetry requires stored models`)
  if (what === undefined) return true
  faults.error(
    'no-orthogonal',
    `symmetry: orthogonal is not possible here: ${what}`,
    recipe.placeOf([...step.at, 'symmetry']),
    'write symmetry: permutation',
  )
  return false
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
