/** A weight of merged adapters: how it is merged, the rank that the result may have, and the form of its factors. */
import type { Expr, FactorExpr } from '../../../expr/types.js'
import type { ValueTensor } from '../../../expr/values.js'
import type { PlanContext } from '../../types.js'
import type { MergeStep } from '../types.js'
import { adaptersOf, coefficientsOf, type Mixture } from './mixture.js'
import { type ChangedWeight, targetOf, type WeightChange } from './modules.js'

/** A weight and how it is merged. */
export interface Weighing {
  readonly context: PlanContext
  readonly step: MergeStep
  readonly mixture: Mixture
  readonly target: string
  readonly weight: ChangedWeight
}

/** The result for one weight. */
export interface MergedWeight extends Pick<ChangedWeight, 'module' | 'embedding' | 'experts'> {
  readonly rank: number
  /** What the reader of the adapter multiplies with. */
  readonly scale: number
  readonly a: ValueTensor
  readonly b: ValueTensor
}

/** The changes that the result depends on: in a sum, those that do not get a factor of 0. */
export function partsIn({ mixture, weight: { changes } }: Weighing): (readonly [string, WeightChange])[] {
  const factors = mixture.how.kind === 'sum' ? coefficientsOf(mixture) : undefined
  return [...(factors?.keys() ?? adaptersOf(mixture))].flatMap((name) => {
    const own = changes.get(name)
    return own && (!factors || factors.get(name)! * own.scale !== 0) ? [[name, own] as const] : []
  })
}

/** The rank of a change; that of the weight's sides if it has no factors. */
export const rankOf = ({ low }: WeightChange, { rows, columns }: ChangedWeight): number =>
  low ? low.rank : Math.min(rows, columns)

/** Whether a change that the result depends on has no factors. */
export const isDense = (of: Weighing): boolean => partsIn(of).some(([, { low }]) => !low)

export const scalesOf = (mixture: Mixture, parts: readonly (readonly [string, WeightChange])[]): number[] => {
  const factors = coefficientsOf(mixture)
  return parts.map(([name, { scale }]) => factors.get(name)! * scale)
}

/** The rank of a result that has at most the rank `full`. For experts, the largest one of them all. */
export function rankLimit({ context, step, target, weight }: Weighing, full: number): number {
  const { rank, energy, name } = step
  const found =
    energy === undefined
      ? []
      : Array.from({ length: weight.experts ?? 1 }, (_, expert) =>
          context.rankOf(name, targetOf(target, weight, expert)),
        )
  const needed = Math.max(...found.map((one) => one ?? full), found.length === 0 ? full : 1)
  return Math.min(needed, typeof rank === 'number' ? rank : full, full)
}

/** Whether the run must still find the rank that reaches the energy. */
export const isOpen = ({ rankOf }: PlanContext, { name, energy }: MergeStep, target: string): boolean =>
  energy !== undefined && rankOf(name, target) === undefined

/** The factoring of one weight or expert, and what it is made of. */
export interface Made {
  readonly factoring: number
  readonly inputs: readonly Expr[]
}

/** What both factors of the result have in common. Merged factors are float32: in BF16, each would be rounded. */
export function tensorForm(step: MergeStep, mixture: Mixture, { changes }: ChangedWeight) {
  const absent = adaptersOf(mixture)
    .filter((model) => !changes.has(model))
    .map((model) => ({ model, reason: 'unchanged' as const }))
  const wide = [...changes.values()].some((change) => change.wide)
  return {
    dtype: step.dtype ?? (wide ? ('F64' as const) : ('F32' as const)),
    rule: mixture.rule,
    ...(absent.length > 0 ? { absent } : {}),
  }
}

/** A and B of the result, of all experts. */
export function pair(
  { step, mixture, weight }: Weighing,
  made: readonly Made[],
  width: number,
): { readonly a: ValueTensor; readonly b: ValueTensor } {
  const { method, models, weights, parameters } = mixture
  const merged = { method: method.name, models, weights, parameters }
  const [first, ...more] = made.map(({ factoring }) => factoring)
  const [own] = weight.changes.values()
  const stored = width * (weight.experts ?? 1)
  const like = own!.low && own!.low.a.shape.length === weight.inputs.length + 1 ? own!.low.b : undefined
  // The B of a convolution has a kernel of size 1.
  const kernel = like ? like.shape.slice(2) : weight.inputs.slice(1).map(() => 1)
  const tensorOf = (factor: 'a' | 'b', shape: readonly number[]): ValueTensor => {
    const expr: FactorExpr = {
      ...{ kind: 'factor', step: step.name, factoring: first!, factor, shape, merged },
      ...(more.length > 0 ? { more } : {}),
      inputs: made.flatMap(({ inputs }) => inputs),
    }
    return { ...tensorForm(step, mixture, weight), shape, expr }
  }
  return {
    a: tensorOf('a', [stored, ...weight.inputs]),
    b: tensorOf('b', [weight.rows, stored, ...kernel]),
  }
}
