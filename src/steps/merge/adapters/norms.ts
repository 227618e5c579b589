/**
 * DoRA: W' = m · (W + ΔW) / ‖W + ΔW‖. With the same norms m in all adapters of a module, the result has them too, and its ΔW is the merged
 * one. Other norms can't be merged without the weight.
 */
import type { Magnitude } from '../../../adapters/types.js'
import { quote } from '../../../core/suggest.js'
import { plural } from '../../../core/words.js'
import type { ValueTensor } from '../../../expr/values.js'
import type { PlanContext } from '../../types.js'
import type { MergeStep } from '../types.js'
import { adaptersOf, coefficientsOf } from './mixture.js'
import type { Weighing } from './weighing.js'

const HINT =
  'apply each adapter to the base ({path: BASE, lora: ADAPTER}) and merge the models, or skip modules: filters: {exclude: [PATTERN]}'

/** The adapters that a weight depends on. */
export const contributing = ({ mixture }: Weighing): readonly string[] =>
  mixture.how.kind === 'sum'
    ? [...coefficientsOf(mixture)].flatMap(([name, factor]) => (factor === 0 ? [] : [name]))
    : adaptersOf(mixture)

const isLike = (one: Magnitude, other: Magnitude): boolean =>
  one.per === other.per && one.epsilon === other.epsilon && one.scales === other.scales

/** Why the norms of a weight can't be those of the result. Undefined if they can. */
function differs(of: Weighing, { adapters }: PlanContext): string | undefined {
  const { changes } = of.weight
  const names = contributing(of)
  const norms = names.map((name) => changes.get(name)?.magnitude)
  const first = norms.find((one) => one !== undefined)
  if (!first) return undefined
  const lacking = names.find((name) => !changes.has(name))
  if (lacking !== undefined)
    return `${quote(lacking)} does not change it, so that its norms there are those of the base`
  const plain = names.find((name) => !changes.get(name)!.magnitude)
  if (plain !== undefined) return `${quote(plain)} has no norms for it`
  const digests = names.map((name, i) => adapters.get(name)!.normsOf(norms[i]!.tensor))
  const isSame = digests[0] !== undefined && digests.every((digest) => digest === digests[0])
  return isSame && norms.every((one) => isLike(one!, first)) ? undefined : 'its norms differ'
}

/** Whether the norms of all weights can be those of the result. Error: `adapter-norms`. */
export function haveSameNorms(step: MergeStep, weighings: readonly Weighing[], context: PlanContext): boolean {
  const { recipe, faults } = context
  const wrong = weighings.flatMap((of) => {
    const why = differs(of, context)
    return why === undefined ? [] : [`${of.weight.module} (${why})`]
  })
  if (wrong.length === 0) return isAlike(step, weighings, context)
  faults.error(
    'adapter-norms',
    `DoRA scales updated weights to given norms, and adapters can be merged only where these are equal, bit for bit: not in ${plural(wrong.length, 'module')}: ${wrong.slice(0, 3).join(', ')}${wrong.length > 3 ? ', …' : ''}`,
    recipe.placeOf(step.at, 'key'),
    HINT,
  )
  return false
}

/** PEFT's configuration says whether all modules are DoRA. Error: `adapter-norms`. */
function isAlike(
  { at }: MergeStep,
  weighings: readonly Weighing[],
  { recipe, faults, adapters }: PlanContext,
): boolean {
  const dora = weighings.find((of) => normsOf(of))
  const plain = weighings.find((of) => !normsOf(of))
  if (!dora || !plain || [...adapters.values()].every(({ config }) => !config)) return true
  faults.error(
    'adapter-norms',
    `${dora.weight.module} is DoRA and ${plain.weight.module} is not, and an adapter of PEFT can’t have both`,
    recipe.placeOf(at, 'key'),
    HINT,
  )
  return false
}

/** The norms of the result; undefined if it has none. */
export function normsOf(of: Weighing): ValueTensor | undefined {
  const [first] = contributing(of)
  const tensor = first === undefined ? undefined : of.weight.changes.get(first)?.magnitude?.tensor
  return tensor && { ...tensor, rule: of.mixture.rule }
}
