/** One weight of merged adapters: the two factors of the result, and the factorings that compute them. */
import { computeOf } from '../../../expr/cost.js'
import type { CoreExpr, Expr, FactorExpr, LowRank, MergeExpr } from '../../../expr/types.js'
import type { ValueTensor } from '../../../expr/values.js'
import { changeInputs } from '../../../expr/walk.js'
import type { HeldWork } from '../../../kernels/held/types.js'
import type { PlanContext } from '../../types.js'
import type { MergeStep } from '../types.js'
import { adaptersOf, coefficientsOf, type Mixture } from './mixture.js'
import { type ChangedWeight, type Factors, partOf, targetOf } from './modules.js'

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

/** The rank of the result. Undefined if no adapter changes the weight. */
export function resultRank(of: Weighing): number | undefined {
  const parts = partsIn(of)
  if (parts.length === 0) return undefined
  const { context, step, weight, mixture } = of
  const total = parts.reduce((sum, [, { rank }]) => sum + rank, 0)
  const sides = Math.min(total, weight.rows, weight.columns)
  const limit = rankLimit(of, mixture.how.kind === 'sum' ? total : sides)
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
    return { ...form, scale: shared, a: tensorOf(only![1].a), b: tensorOf(only![1].b) }
  }
  const made = Array.from({ length: experts ?? 1 }, (_, expert) =>
    isExact(of, parts) ? joined(of, parts, scales, shared, expert, width) : expanded(of, parts, expert, width),
  )
  return { ...form, scale: shared, ...pair(of, made, width) }
}

/** The changes that the result depends on: in a sum, those that do not get a factor of 0. */
function partsIn({ mixture, weight: { changes } }: Weighing): (readonly [string, Factors])[] {
  const factors = mixture.how.kind === 'sum' ? coefficientsOf(mixture) : undefined
  return [...(factors?.keys() ?? adaptersOf(mixture))].flatMap((name) => {
    const own = changes.get(name)
    return own && (!factors || factors.get(name)! * own.scale !== 0) ? [[name, own] as const] : []
  })
}

const scalesOf = (mixture: Mixture, parts: readonly (readonly [string, Factors])[]): number[] => {
  const factors = coefficientsOf(mixture)
  return parts.map(([name, { scale }]) => factors.get(name)! * scale)
}

/** Whether the result is the factors side by side. */
function isExact(of: Weighing, parts: readonly (readonly [string, Factors])[]): boolean {
  const { context, step, mixture, target, weight } = of
  const total = parts.reduce((sum, [, { rank }]) => sum + rank, 0)
  return (
    mixture.how.kind === 'sum' && rankLimit(of, total) === total && !isOpen(context, step, targetOf(target, weight, 0))
  )
}

/** With equal scales, the factors can be stored as they are: the configuration has the scale. */
const sharedScale = (
  of: Weighing,
  parts: readonly (readonly [string, Factors])[],
  scales: readonly number[],
): number => (isExact(of, parts) && scales.every((scale) => scale === scales[0]) ? scales[0]! : 1)

/** The factoring of one weight or expert, and what it is made of. */
interface Made {
  readonly factoring: number
  readonly inputs: readonly Expr[]
}

/** Σ c_i ΔW_i: the factors side by side. */
function joined(
  { context, step, target, weight }: Weighing,
  parts: readonly (readonly [string, Factors])[],
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
function expanded(of: Weighing, parts: readonly (readonly [string, Factors])[], expert: number, width: number): Made {
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
  parts: readonly (readonly [string, Factors])[],
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

/** The rank of a result that has at most the rank `full`. For experts, the largest one of them all. */
function rankLimit({ context, step, target, weight }: Weighing, full: number): number {
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
const isOpen = ({ rankOf }: PlanContext, { name, energy }: MergeStep, target: string): boolean =>
  energy !== undefined && rankOf(name, target) === undefined

const changesOf = (weight: ChangedWeight, parts: readonly (readonly [string, Factors])[], expert: number): LowRank => ({
  rows: weight.rows,
  columns: weight.columns,
  parts: parts.map(([, factors]) => partOf(factors, weight, expert)),
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

/** What both factors of the result have in common. Merged factors are float32: in BF16, each would be rounded. */
function tensorForm(step: MergeStep, mixture: Mixture, { changes }: ChangedWeight) {
  const absent = adaptersOf(mixture)
    .filter((model) => !changes.has(model))
    .map((model) => ({ model, reason: 'unchanged' as const }))
  const wide = [...changes.values()].some(({ a, b }) => a.dtype === 'F64' || b.dtype === 'F64')
  return {
    dtype: step.dtype ?? (wide ? ('F64' as const) : ('F32' as const)),
    rule: mixture.rule,
    ...(absent.length > 0 ? { absent } : {}),
  }
}

/** A and B of the result, of all experts. */
function pair(
  { step, mixture, weight }: Weighing,
  made: readonly Made[],
  width: number,
): { readonly a: ValueTensor; readonly b: ValueTensor } {
  const { method, models, weights, parameters } = mixture
  const merged = { method: method.name, models, weights, parameters }
  const [first, ...more] = made.map(({ factoring }) => factoring)
  const [own] = weight.changes.values()
  const stored = width * (weight.experts ?? 1)
  const tensorOf = (factor: 'a' | 'b', shape: readonly number[]): ValueTensor => {
    const expr: FactorExpr = {
      ...{ kind: 'factor', step: step.name, factoring: first!, factor, shape, merged },
      ...(more.length > 0 ? { more } : {}),
      inputs: made.flatMap(({ inputs }) => inputs),
    }
    return { ...tensorForm(step, mixture, weight), shape, expr }
  }
  return {
    a: tensorOf('a', [stored, ...own!.a.shape.slice(1)]),
    b: tensorOf('b', [weight.rows, stored, ...own!.b.shape.slice(2)]),
  }
}
