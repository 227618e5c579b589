/** What adapters have beside low-rank changes: differences of biases, and tensors that were saved whole. */

import { sameShape } from '../../../core/dtypes.js'
import { quote } from '../../../core/suggest.js'
import { isFloat } from '../../../encodings/index.js'
import type { Expr, MergeExpr } from '../../../expr/types.js'
import type { ValueTensor } from '../../../expr/values.js'
import type { PlanContext } from '../../types.js'
import type { MergeStep } from '../types.js'
import { coefficientsOf, type Mixture } from './mixture.js'
import type { ChangedBias } from './modules.js'

/** How far the sum of coefficients may be from 1, by rounding. */
const ROUNDING = 1e-12

/** Whether an adapter that the result depends on changes a bias. */
export function isChanged(mixture: Mixture, { changes }: ChangedBias): boolean {
  if (mixture.how.kind !== 'sum') return true
  return [...coefficientsOf(mixture)].some(([name, factor]) => factor !== 0 && changes.has(name))
}

/** The merged difference of a bias, divided by the scale that its reader applies. */
export function mergeBias(step: MergeStep, mixture: Mixture, { changes }: ChangedBias, scale: number): ValueTensor {
  const [first] = changes.values()
  const { shape } = first!.tensor
  const { base, models, method, weights, parameters, rule } = mixture
  const form = { dtype: step.dtype ?? 'F32', shape, rule } as const
  const own = { step: step.name, models } as const
  if (mixture.how.kind === 'sum') {
    const factors = coefficientsOf(mixture)
    const parts = [...factors].filter(([name]) => changes.has(name))
    const expr: MergeExpr = {
      ...{ kind: 'merge', step: step.name, method: 'linear', models: parts.map(([name]) => name) },
      weights: parts.map(([name, factor]) => (factor * changes.get(name)!.scale) / scale),
      parameters: { normalize: false },
      inputs: parts.map(([name]) => changes.get(name)!.tensor.expr),
    }
    return { ...form, expr }
  }
  const scaled = (tensor: ValueTensor, factor: number): Expr => ({
    ...{ kind: 'merge', ...own, models: own.models.slice(0, 1), method: 'passthrough', weights: [1] },
    ...{ parameters: { scale: [factor] }, inputs: [tensor.expr] },
  })
  const zero = scaled(first!.tensor, 0)
  const of = (name: string): Expr => {
    const change = changes.get(name)
    return change ? scaled(change.tensor, change.scale / scale) : zero
  }
  const expr: MergeExpr = {
    ...{ kind: 'merge', ...own, method: method.name, weights, parameters },
    inputs: models.map(of),
    ...(base.kind === 'none' ? {} : { base: base.kind === 'adapter' ? of(base.name) : zero }),
  }
  return { ...form, expr }
}

/** A weight of the base that adapters have beneath their updates, if it is the same in all of them. */
export function sameCopy(
  { adapters }: PlanContext,
  { rule }: Mixture,
  copies: ReadonlyMap<string, ValueTensor>,
): ValueTensor | undefined {
  const [[first, tensor], ...others] = [...copies] as [[string, ValueTensor], ...[string, ValueTensor][]]
  const digest = adapters.get(first)!.normsOf(tensor)
  const isSame = others.every(
    ([name, other]) =>
      sameShape(other.shape, tensor.shape) && digest !== undefined && adapters.get(name)!.normsOf(other) === digest,
  )
  return isSame ? { ...tensor, rule } : undefined
}

/**
 * A tensor that adapters saved whole instead of a change. Without the base, its change is unknown; only an average needs no
 * base. Error: `adapter-whole`.
 */
export function mergeWhole(
  { recipe, faults }: PlanContext,
  step: MergeStep,
  mixture: Mixture,
  target: string,
  copies: ReadonlyMap<string, ValueTensor>,
): ValueTensor | undefined {
  const refuse = (why: string): undefined => {
    faults.error(
      'adapter-whole',
      `${target} is saved whole, not as a change, and ${why}`,
      recipe.placeOf(step.at, 'key'),
      `skip it: filters: {exclude: [${quote(target)}]}; or apply each adapter to the base ({path: BASE, lora: ADAPTER}), merge the models, and extract an adapter`,
    )
    return undefined
  }
  if (mixture.how.kind !== 'sum') return refuse(`${mixture.method.name} needs its change, which only the base shows`)
  const factors = [...coefficientsOf(mixture)].filter(([, factor]) => factor !== 0)
  const lacking = factors.find(([name]) => !copies.has(name))
  if (lacking) return refuse(`${quote(lacking[0])} lacks it: its value there is that of the base`)
  const [first, ...others] = factors.map(([name]) => copies.get(name)!)
  if (others.some(({ shape, dtype }) => !sameShape(shape, first!.shape) || isFloat(dtype) !== isFloat(first!.dtype)))
    return refuse('the adapters have it in different shapes')
  const sum = factors.reduce((total, [, factor]) => total + factor, 0)
  if (Math.abs(sum - 1) > ROUNDING)
    return refuse(`the weights add up to ${sum}, not to 1, so that the result depends on the base`)
  const expr: MergeExpr = {
    ...{ kind: 'merge', step: step.name, method: 'linear', models: factors.map(([name]) => name) },
    ...{ weights: factors.map(([, factor]) => factor), parameters: { normalize: false } },
    inputs: factors.map(([name]) => copies.get(name)!.expr),
  }
  const { dtype, shape } = first!
  return { dtype: step.dtype ?? dtype, shape, expr, rule: mixture.rule }
}
