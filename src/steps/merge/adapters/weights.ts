/** One weight of merged adapters: the two factors of the result, and the factoring that computes them. */
import type { OutputDtype } from '../../../core/dtypes.js'
import { computeOf } from '../../../expr/cost.js'
import type { CoreExpr, Expr, FactorExpr, LowRank, LowRankPart, Merged, MergeExpr } from '../../../expr/types.js'
import type { ValueTensor } from '../../../expr/values.js'
import { changeInputs } from '../../../expr/walk.js'
import type { HeldWork } from '../../../kernels/held/types.js'
import type { Method, OnAdapters, Resolved } from '../../../methods/types.js'
import type { PlanContext } from '../../types.js'
import type { MergeStep } from '../types.js'
import type { ChangedWeight, Factors } from './modules.js'

/** How a tensor is merged: the settings of the merge or of a rule, at the tensor's layer. */
export interface Mixture {
  readonly method: Method
  readonly how: Exclude<OnAdapters, { readonly kind: 'refused' }>
  /** What changes are compared with. `zero`: no change. `none`: the method uses no base. */
  readonly base:
    | { readonly kind: 'none' | 'zero' }
    | { readonly kind: 'adapter'; readonly name: string; readonly apart: boolean }
  readonly models: readonly string[]
  readonly weights: readonly number[]
  readonly parameters: Readonly<Record<string, Resolved>>
  readonly rule: number
}

/** The result for one weight. */
export interface MergedWeight {
  readonly module: string
  readonly embedding: boolean
  readonly rank: number
  /** What the reader of the adapter multiplies with. */
  readonly scale: number
  readonly a: ValueTensor
  readonly b: ValueTensor
}

/** Coefficients of adapters in a sum. A base has what is left of 1. */
export function coefficientsOf({ how, base, models, weights, parameters }: Mixture): ReadonlyMap<string, number> {
  if (how.kind !== 'sum') throw new Error('internal: coefficients of a method that does not add up changes')
  const own = how.coefficients({ weights, parameters })
  const factors = new Map(models.map((model, i) => [model, own[i]!]))
  if (base.kind === 'adapter') factors.set(base.name, 1 - own.reduce((sum, factor) => sum + factor, 0))
  return factors
}

/** Undefined if no adapter changes the weight. */
export function mergeWeight(
  context: PlanContext,
  step: MergeStep,
  mixture: Mixture,
  target: string,
  weight: ChangedWeight,
): MergedWeight | undefined {
  return mixture.how.kind === 'sum'
    ? sumOf(context, step, mixture, target, weight)
    : coreOf(context, step, mixture, target, weight)
}

const present = (names: readonly string[], { changes }: ChangedWeight): (readonly [string, Factors])[] =>
  names.flatMap((name) => {
    const factors = changes.get(name)
    return factors ? [[name, factors] as const] : []
  })

const partOf = ({ a, b, rank, scale }: Factors): LowRankPart => ({ a: a.expr, b: b.expr, rank, scale })

/** Σ c_i ΔW_i: the factors side by side, or the best approximation of a smaller rank. */
function sumOf(
  context: PlanContext,
  step: MergeStep,
  mixture: Mixture,
  target: string,
  weight: ChangedWeight,
): MergedWeight | undefined {
  const factors = coefficientsOf(mixture)
  const parts = present([...factors.keys()], weight).filter(([name, { scale }]) => factors.get(name)! * scale !== 0)
  const scales = parts.map(([name, { scale }]) => factors.get(name)! * scale)
  const total = parts.reduce((sum, [, { rank }]) => sum + rank, 0)
  const [first] = parts
  if (!first) return undefined
  const limit = rankLimit(context, step, target, total)
  if (limit < total || isOpen(context, step, target)) {
    const changes = changesOf(weight, parts)
    const names = parts.map(([name]) => name)
    const from: MergeExpr = {
      ...{ kind: 'merge', step: step.name, method: 'linear', models: names },
      ...{ weights: names.map((name) => factors.get(name)!), parameters: { normalize: false } },
      inputs: parts.map((_, part) => coreExpr(step, changes, part)),
    }
    return expanded(context, step, mixture, target, weight, changes, from)
  }
  // With equal scales, the factors can be stored as they are: the configuration has the scale.
  const shared = scales.every((scale) => scale === scales[0]) ? scales[0]! : 1
  if (parts.length === 1) {
    const { a, b, rank } = first[1]
    const tensorOf = ({ shape, expr }: ValueTensor) => ({ ...tensorForm(step, mixture, weight), shape, expr })
    return { ...formOf(weight), rank, scale: shared, a: tensorOf(a), b: tensorOf(b) }
  }
  const changes = changesOf(weight, parts)
  const inputs = changeInputs(changes).map(({ part }) => part)
  const work: HeldWork = {
    kernel: 'joined',
    rows: weight.rows,
    columns: weight.columns,
    compute: computeOf(context.recipe.compute, ...inputs),
    weights: scales.map((scale) => scale / shared),
    scale: 1,
    options: { ranks: changes.parts.map(({ rank }) => rank), rank: total },
  }
  const shape = [weight.rows, weight.columns]
  const factoring = context.factorings.push({ step: step.name, tensor: target, shape, changes, work }) - 1
  return { ...formOf(weight), rank: total, scale: shared, ...pair(step, mixture, weight, factoring, total, inputs) }
}

/** The method's result for the cores of all adapters. */
function coreOf(
  context: PlanContext,
  step: MergeStep,
  mixture: Mixture,
  target: string,
  weight: ChangedWeight,
): MergedWeight | undefined {
  const { method, base, models, weights, parameters } = mixture
  const names = [...new Set([...models, ...(base.kind === 'adapter' ? [base.name] : [])])]
  const parts = present(names, weight)
  if (parts.length === 0) return undefined
  const changes = changesOf(weight, parts)
  const coreFor = (name: string): Expr =>
    coreExpr(
      step,
      changes,
      parts.findIndex(([own]) => own === name),
    )
  const expr: MergeExpr = {
    ...{ kind: 'merge', step: step.name, method: method.name, models, weights, parameters },
    inputs: models.map(coreFor),
    ...(base.kind === 'none'
      ? {}
      : { base: base.kind === 'adapter' ? coreFor(base.name) : coreExpr(step, changes, -1) }),
  }
  const from = context.scopes.join(expr, target, coreShape(changes))
  return expanded(context, step, mixture, target, weight, changes, from)
}

/** The rank of a result that has at most the rank `full`. */
function rankLimit({ rankOf }: PlanContext, { name, rank, energy }: MergeStep, target: string, full: number): number {
  const found = energy === undefined ? undefined : rankOf(name, target)
  return Math.min(found ?? full, typeof rank === 'number' ? rank : full, full)
}

/** Whether the run must still find the rank that reaches the energy. */
const isOpen = ({ rankOf }: PlanContext, { name, energy }: MergeStep, target: string): boolean =>
  energy !== undefined && rankOf(name, target) === undefined

function expanded(
  context: PlanContext,
  step: MergeStep,
  mixture: Mixture,
  target: string,
  weight: ChangedWeight,
  changes: LowRank,
  from: MergeExpr,
): MergedWeight {
  const shape = coreShape(changes)
  const full = Math.min(...shape)
  const rank = rankLimit(context, step, target, full)
  const open = isOpen(context, step, target)
  const work: HeldWork = {
    kernel: 'expanded',
    rows: weight.rows,
    columns: weight.columns,
    compute: 'f64',
    weights: [],
    scale: 1,
    options: {
      ...{ ranks: changes.parts.map((part) => part.rank), rank, cut: rank < full || open ? 1 : 0 },
      ...(open ? { energy: step.energy! } : {}),
    },
  }
  const factoring = context.factorings.push({ step: step.name, tensor: target, shape, from, changes, work }) - 1
  const inputs = changeInputs(changes).map(({ part }) => part)
  // Cores are in float64, and so are the factors: the core is an input that says so.
  const made = pair(step, mixture, weight, factoring, rank, [...inputs, ...from.inputs.slice(0, 1)])
  return { ...formOf(weight), rank, scale: 1, ...made }
}

const formOf = ({ module, embedding }: ChangedWeight) => ({ module, embedding })

const changesOf = ({ rows, columns }: ChangedWeight, parts: readonly (readonly [string, Factors])[]): LowRank => ({
  rows,
  columns,
  parts: parts.map(([, factors]) => partOf(factors)),
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

/** Merged factors are float32 unless the recipe says otherwise: in BF16, each would be rounded. */
const dtypeOf = ({ changes }: ChangedWeight, dtype: OutputDtype | undefined): OutputDtype =>
  dtype ?? ([...changes.values()].some(({ a, b }) => a.dtype === 'F64' || b.dtype === 'F64') ? 'F64' : 'F32')

/** What both factors of the result have in common. */
function tensorForm(step: MergeStep, { models, base, rule }: Mixture, weight: ChangedWeight) {
  const all = [...models, ...(base.kind === 'adapter' ? [base.name] : [])]
  const absent = all
    .filter((model) => !weight.changes.has(model))
    .map((model) => ({ model, reason: 'unchanged' as const }))
  return { dtype: dtypeOf(weight, step.dtype), rule, ...(absent.length > 0 ? { absent } : {}) }
}

/** A and B of the result. */
function pair(
  step: MergeStep,
  mixture: Mixture,
  weight: ChangedWeight,
  factoring: number,
  rank: number,
  inputs: readonly Expr[],
): { readonly a: ValueTensor; readonly b: ValueTensor } {
  const { method, models, weights, parameters } = mixture
  const merged: Merged = { method: method.name, models, weights, parameters }
  const [{ a, b } = { a: undefined, b: undefined }] = weight.changes.values()
  const made = (factor: 'a' | 'b', shape: readonly number[]): ValueTensor => {
    const expr: FactorExpr = { kind: 'factor', step: step.name, factoring, factor, shape, inputs, merged }
    return { ...tensorForm(step, mixture, weight), shape, expr }
  }
  return {
    a: made('a', [rank, ...a!.shape.slice(1)]),
    b: made('b', [weight.rows, rank, ...b!.shape.slice(2)]),
  }
}
