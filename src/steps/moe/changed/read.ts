/** Mixtures that are changed: read with their configurations, and taken apart. */
import { quote } from '../../../core/suggest.js'
import { stackedLike, type Value, type ValueTensor } from '../../../expr/values.js'
import { partOf, placeOf } from '../../../layouts/parts.js'
import { shapeOf } from '../../../views/shape.js'
import { configOfValue } from '../../shared/configOfValue.js'
import type { PlanContext } from '../../types.js'
import type { Part, PooledKind } from '../architectures.js'
import { type Mixture, type MixtureLayer, mixtureOf } from '../network.js'
import { ofBase, refusing } from '../refuse.js'
import type { DenseStep, MoeSaid, PoolStep } from '../types.js'

type Config = Readonly<Record<string, unknown>>

export interface ReadMixture<Kind extends PooledKind = PooledKind> {
  readonly name: string
  /** Its `model_type`. */
  readonly type: string
  readonly value: Value
  readonly config: Config
  readonly architecture: Kind
  readonly mixture: Mixture
}

/** What planning makes of a step. */
export interface PlannedMixture {
  readonly value: Value
  readonly says: MoeSaid
}

/** Whether the shares of the experts that a token goes through add up to 1. */
export const isNormalized = ({ type, config }: Pick<ReadMixture, 'type' | 'config'>): boolean =>
  type === 'mixtral' || config.norm_topk_prob === true

/** `kindOf`: the kinds that the step knows. `known`: their names. */
export function readMixture<Kind extends PooledKind>(
  step: PoolStep | DenseStep,
  name: string,
  kindOf: (modelType: string) => Kind | undefined,
  known: string,
  context: PlanContext,
): ReadMixture<Kind> | undefined {
  const refuse = refusing(context, step.at)
  const value = context.values.get(name)!
  const config = configOfValue(value, context)
  const type = String(config?.model_type ?? null)
  const architecture = kindOf(type)
  if (!config || !architecture)
    return refuse(
      `${quote(name)} is not a mixture that this step knows: its model_type is ${JSON.stringify(config?.model_type ?? null)}`,
      `name ${known} models`,
    )
  const mixture = mixtureOf(value, architecture)
  if (typeof mixture === 'string')
    return refuse(`${quote(name)} is not a complete ${architecture.title} model: ${mixture}`, 'use a complete model')
  if (Number(config.n_group ?? 1) > 1)
    return refuse(`${quote(name)} chooses experts by groups`, 'name a mixture without n_group')
  return { name, type, value, config, architecture, mixture }
}

/** One matrix of one expert: a stored part of a tensor, or a tensor. A string: why it can't be taken alone. */
export function matrixOf({ experts, fused }: MixtureLayer, index: number, part: Part): ValueTensor | string {
  if (!fused) return experts![index]![part]
  const whole = part === 'down_proj' ? fused.down : fused.gateUp
  if (whole.expr.kind !== 'read') return 'its experts are in one tensor that a step makes'
  const { view } = whole.expr
  const half = whole.shape[1]! / 2
  const own = part === 'down_proj' ? view : partOf(view, 1, 1, [half, half], part === 'up_proj' ? 1 : 0)
  const matrix = placeOf(own, index)
  return { dtype: whole.dtype, shape: shapeOf(matrix), expr: { kind: 'read', view: matrix }, reason: 'expert' }
}

/** The tensors that are neither experts nor routers. */
export const besides = ({ value, mixture: { names } }: ReadMixture): Map<string, ValueTensor> =>
  new Map([...value.tensors].flatMap(([name, tensor]) => (names.has(name) ? [] : [[name, ofBase(tensor)] as const])))

/** The result of a step, which has the configuration of `like`. */
export const made = (name: string, tensors: ReadonlyMap<string, ValueTensor>, like: Value): Value => ({
  name,
  tensors: new Map([...tensors].sort(([a], [b]) => (a < b ? -1 : 1))),
  origin: like.origin,
  ...stackedLike(like),
})
