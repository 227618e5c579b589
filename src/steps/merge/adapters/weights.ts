/** One weight of merged adapters: the two factors of the result, and the factorings that compute them. */
import { computeOf } from '../../../expr/cost.js'
import type { CoreExpr, Expr, LowRank, MergeExpr } from '../../../expr/types.js'
import type { ValueTensor } from '../../../expr/values.js'
import { changeInputs } from '../../../expr/walk.js'
import type { HeldWork } from '../../../kernels/held/types.js'
import type { MergeStep } from '../types.js'
import { coefficientsOf } from './mixture.js'
import { type ChangedWeight, partOf, targetOf, type WeightChange } from './modules.js'
import {
  isDense,
  isOpen,
  type Made,
  type MergedWeight,
  pair,
  partsIn,
  rankLimit,
  rankOf,
  scalesOf,
  tensorForm,
  type Weighing,
} from './weighing.js'

/** The rank of the result. Undefined if no adapter changes the weight. */
export function resultRank(of: Weighing): number | undefined {
  const parts = partsIn(of)
  if (parts.length === 0) return undefined
  const { context, step, weight, mixture } = of
  const total = parts.reduce((sum, [, change]) => sum + rankOf(change, weight), 0)
  const sides = Math.min(total, weight.rows, weight.columns)
  const limit = rankLimit(of, mixture.how.kind === 'sum' && !isDense(of) ? total : sides)
  return limit < total || isOpen(context, step, targetOf(of.target, weight, 0)) ? Math.min(limit, sides) : limit
}

/** The factors of the result. `width`: the rank that they are stored with, which is not smaller than their own. */
export function mergeWeight(of: Weighing, width: number): MergedWeight {
  const { step, mixture, weight } = of
  const { module, embedding, experts } = weight
  const form = { module, embedding, ...(experts === undefined ? {} : { experts }), rank: width }
  const parts = partsIn(of)
  const scales = mixture.how.kind === 'sum' ? scalesOf(mixture, parts) : []
  const shared = experts === undefined ? sharedScale(of, parts, scales) : 1
  const [only, ...others] = parts
  if (isExact(of, parts) && others.length === 0 && experts === undefined) {
    const tensorOf = ({ shape, expr }: ValueTensor) => ({ ...tensorForm(step, mixture, weight), shape, expr })
    const { a, b } = only![1].low!
    return { ...form, scale: shared, a: tensorOf(a), b: tensorOf(b) }
  }
  const made = Array.from({ length: experts ?? 1 }, (_, expert) =>
    isExact(of, parts) ? joined(of, parts, scales, shared, expert, width) : expanded(of, parts, expert, width),
  )
  return { ...form, scale: shared, ...pair(of, made, width) }
}

/** Whether the result is the factors side by side. */
function isExact(of: Weighing, parts: readonly (readonly [string, WeightChange])[]): boolean {
  const { context, step, mixture, target, weight } = of
  const total = parts.reduce((sum, [, change]) => sum + rankOf(change, weight), 0)
  return (
    mixture.how.kind === 'sum' && rankLimit(of, total) === total && !isOpen(context, step, targetOf(target, weight, 0))
  )
}

/** With equal scales, the factors can be stored as they are: the configuration has the scale. */
const sharedScale = (
  of: Weighing,
  parts: readonly (readonly [string, WeightChange])[],
  scales: readonly number[],
): number => (isExact(of, parts) && scales.every((scale) => scale === scales[0]) ? scales[0]! : 1)

/** Σ c_i ΔW_i: the factors side by side. */
function joined(
  { context, step, target, weight }: Weighing,
  parts: readonly (readonly [string, WeightChange])[],
  scales: readonly number[],
  shared: number,
  expert: number,
  rank: number,
): Made {
  const changes = changesOf(weight, parts, expert)
  const inputs = changeInputs(changes).map(({ part }) => part)
  const work: HeldWork = {
    kernel: 'joined',
    rows: weight.rows,
    columns: weight.columns,
    compute: computeOf(context.recipe.compute, ...inputs),
    weights: scales.map((scale) => scale / shared),
    scale: 1,
    options: { ranks: changes.parts.map((part) => part.rank), rank },
  }
  const shape = [weight.rows, weight.columns]
  const tensor = targetOf(target, weight, expert)
  return { factoring: context.factorings.push({ step: step.name, tensor, shape, changes, work }) - 1, inputs }
}

/** The method's result for the cores of all adapters, perhaps cut to a smaller rank. */
function expanded(
  of: Weighing,
  parts: readonly (readonly [string, WeightChange])[],
  expert: number,
  width: number,
): Made {
  const { context, step, target, weight } = of
  const tensor = targetOf(target, weight, expert)
  const changes = changesOf(weight, parts, expert)
  const shape = coreShape(changes)
  const from = context.scopes.join(mergeOf(of, parts, changes), tensor, shape)
  const full = Math.min(...shape)
  const open = isOpen(context, step, tensor)
  const cut = rankLimit(of, full) < full || open
  const work: HeldWork = {
    kernel: 'expanded',
    rows: weight.rows,
    columns: weight.columns,
    compute: 'f64',
    weights: [],
    scale: 1,
    options: {
      ...{ ranks: changes.parts.map((part) => part.rank), rank: width, cut: cut ? 1 : 0 },
      ...(cut ? { most: rankLimit(of, full) } : {}),
      ...(open ? { energy: step.energy! } : {}),
    },
  }
  const factoring = context.factorings.push({ step: step.name, tensor, shape, from, changes, work }) - 1
  // Cores are in float64, and so are the factors: a core among the inputs says so.
  return { factoring, inputs: [...changeInputs(changes).map(({ part }) => part), ...from.inputs.slice(0, 1)] }
}

function mergeOf(
  { step, mixture }: Weighing,
  parts: readonly (readonly [string, WeightChange])[],
  changes: LowRank,
): MergeExpr {
  const { method, how, base, models, weights, parameters } = mixture
  const coreFor = (name: string): Expr =>
    coreExpr(
      step,
      changes,
      parts.findIndex(([own]) => own === name),
    )
  if (how.kind === 'sum') {
    const factors = coefficientsOf(mixture)
    const names = parts.map(([name]) => name)
    return {
      ...{ kind: 'merge', step: step.name, method: 'linear', models: names, inputs: names.map(coreFor) },
      ...{ weights: names.map((name) => factors.get(name)!), parameters: { normalize: false } },
    }
  }
  const zero = coreExpr(step, changes, -1)
  return {
    ...{ kind: 'merge', step: step.name, method: method.name, models, weights, parameters },
    inputs: models.map(coreFor),
    ...(base.kind === 'none' ? {} : { base: base.kind === 'adapter' ? coreFor(base.name) : zero }),
  }
}

const changesOf = (
  weight: ChangedWeight,
  parts: readonly (readonly [string, WeightChange])[],
  expert: number,
): LowRank => ({
  rows: weight.rows,
  columns: weight.columns,
  parts: parts.map(([, { low, scale }]) => partOf(low!, scale, weight, expert)),
})

const coreShape = ({ rows, columns, parts }: LowRank): readonly [number, number] => {
  const rank = parts.reduce((sum, part) => sum + part.rank, 0)
  return [Math.min(rank, rows), Math.min(rank, columns)]
}

const coreExpr = ({ name }: MergeStep, of: LowRank, part: number): CoreExpr => ({
  kind: 'core',
  step: name,
  of,
  part,
  shape: coreShape(of),
})
