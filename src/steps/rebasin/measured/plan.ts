/** Plans the use of activations: which tensors of the files belong to which groups. */
import { plural } from '../../../core/words.js'
import { isFloat } from '../../../encodings/index.js'
import type { AnalysisModel } from '../../../expr/types.js'
import type { Value } from '../../../expr/values.js'
import type { Faults } from '../../../language/faults.js'
import type { MeasuredFile, RecipeHead } from '../../../language/types.js'
import { measuredSpec } from '../../../rebasin/activations/names.js'
import { orthogonalForm } from '../../../rebasin/orthogonal/form.js'
import { rolesOf } from '../../../rebasin/orthogonal/roles.js'
import type { Spec } from '../../../rebasin/spec.js'
import {
  LEAST_SAMPLES,
  lackingTensor,
  notNumbers,
  RECORD_ROWS,
  refuser,
  tooFew,
  unfitting,
  warnForeign,
} from '../../shared/activationFaults.js'
import { analysisTensor } from '../../shared/analysisTensor.js'
import type { RebasinAnalysis, RebasinStep } from '../types.js'

/**
 * The activations of both models. Errors: `missing-statistics` for a group without activations, `bad-statistics` for tensors of
 * the wrong shape, and for other numbers of samples in the two files. Warning: `foreign-statistics` for tensors of no group.
 */
export function planActivations(
  recipe: RecipeHead,
  step: RebasinStep,
  spec: Spec,
  values: ReadonlyMap<string, Value>,
  config: Readonly<Record<string, unknown>> | undefined,
  faults: Faults,
): RebasinAnalysis['activations'] | 'refused' {
  if (!step.statistics) return undefined
  const [model, fixed] = step.statistics as [MeasuredFile, MeasuredFile]
  const [own, other] = [values.get(model.file)!, values.get(fixed.file)!]
  const onto = values.get(step.onto)!
  const refuse = refuser(recipe, faults, 'refused' as const)
  const measured = measuredSpec(spec, own.tensors)
  const form =
    step.symmetry === 'orthogonal'
      ? orthogonalForm({ tensors: onto.tensors, ...(config ? { config } : {}) })
      : undefined
  const roles = form && rolesOf(form, own.tensors)
  const foreign = measured.foreign.filter((name) => !roles?.roles.has(name))
  const { wrong, missing } = roles ?? measured
  if (wrong.length > 0) return refuse('bad-statistics', model, unfitting(model, wrong[0]!), RECORD_ROWS)
  const used = roles ? roles.roles.size : measured.spec.parts.length
  if (missing.length > 0 && !(step.method === 'mixed' && used > 0)) {
    const more = missing.length > 1 ? ` and ${plural(missing.length - 1, `other ${roles ? 'place' : 'group'}`)}` : ''
    return refuse(
      'missing-statistics',
      model,
      `the activations of ${model.of} have no tensor for ${roles ? '' : 'the group '}${missing[0]}${more}`,
      roles
        ? `name a tensor GROUP@${missing[0]}, measure it there, or use method: mixed`
        : 'record the output of a layer of each group that terge inspect MODEL --spec lists, or use method: mixed',
    )
  }
  const ignored = new Set(foreign)
  warnForeign(recipe, model, foreign, faults)
  const names = [...own.tensors.keys()].filter((name) => (roles ? roles.roles.has(name) : !ignored.has(name)))
  for (const name of names) {
    const [x, y] = [own.tensors.get(name)!, other.tensors.get(name)]
    const lacking = !y && lackingTensor(name, fixed, model)
    const integer = [x, y].find((tensor) => tensor && !isFloat(tensor.dtype))
    const samples = y && (x.shape[0] !== y.shape[0] || y.shape.length !== 2 || x.shape[1] !== y.shape[1])
    const few = x.shape[0]! < LEAST_SAMPLES
    const what = lacking
      ? lacking
      : integer
        ? notNumbers(name, integer.dtype)
        : samples
          ? `${name} is [${x.shape.join(', ')}] for ${model.of} but [${y!.shape.join(', ')}] for ${fixed.of}`
          : few
            ? tooFew(name, x.shape[0]!)
            : undefined
    if (what !== undefined)
      return refuse('bad-statistics', lacking ? fixed : model, what, 'record both models on the same inputs')
  }
  const activations = (value: Value, of: string): AnalysisModel => ({
    name: of,
    tensors: names.map((name) => analysisTensor(name, value.tensors.get(name)!)),
  })
  return { model: activations(own, model.of), onto: activations(other, fixed.of) }
}
