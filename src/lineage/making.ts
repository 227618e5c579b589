/** Describes in a lineage how tensors were made, from their expressions, also for fused steps. */

import type { Json } from '../core/json/shape.js'
import type { CopyReason } from '../core/reasons.js'
import type { Expr, FactorExpr, Merged, MergeExpr, ReadExpr } from '../expr/types.js'
import { inputsOf, isSmallTree } from '../expr/walk.js'
import { isAdapted } from '../methods/adapted.js'
import { isNoise } from '../methods/noise.js'
import { lookupMethod } from '../methods/registry.js'
import { kindsOfAnalyses } from '../plan/analysisCost.js'
import type { Plan, PlanTensor } from '../plan/types.js'
import type { Recipe } from '../recipe/types.js'
import { analysisKindOf, kindOf } from '../steps/index.js'
import { formatOf, lastFinding, mainStored, partsByModel, withoutLastFinding } from '../views/stored.js'
import type { LineageMerge, LineagePart, LineageSource, LineageTensor } from './types.js'

/** The plan, the recipe and findings that descriptions are made from. */
export interface Making {
  readonly plan: Plan
  /** The results of passes, by scope of the plan. */
  readonly scopes: readonly (readonly Float64Array[])[]
  /** By step. */
  readonly kinds: ReadonlyMap<string, string>
  /** By step, the model or step that defines names and shapes of its result. */
  readonly bases: ReadonlyMap<string, string | undefined>
  /** Tensors that steps made on the way to the current tensor, by step and name, if they are listed and not nested. */
  readonly parts?: Map<string, LineagePart>
}

export const makingOf = (plan: Plan, { steps }: Pick<Recipe, 'steps'>, scopes: Making['scopes']): Making => ({
  ...{ plan, scopes },
  // A point of a path can be repaired without a step of its own.
  kinds: new Map([...kindsOfAnalyses(plan), ...steps.map(({ name, kind }) => [name, kind] as const)]),
  bases: new Map(steps.map((step) => [step.name, kindOf(step).like(step)])),
})

/** The lineage has no weight that is NaN or infinite, which happens if a norm is. */
const finite = (weight: number | null | undefined): number | null =>
  weight !== null && weight !== undefined && Number.isFinite(weight) ? weight : null

/** Maximal depth of nested steps. Readers of lineages accept twice as much. */
const DEEPEST = 24

function depthOf({ sources, base }: LineageMerge): number {
  const below = [...sources, ...(base ? [base] : [])].flatMap(({ of }) => (of ? [depthOf(of)] : []))
  return below.reduce((most, depth) => Math.max(most, depth + 1), 0)
}

/** The owner of an expression: the step that makes it, or the model whose file it reads. */
function owner(making: Making, expr: Expr): string {
  const { plan } = making
  if (expr.kind === 'merge' || expr.kind === 'crop' || expr.kind === 'factor' || expr.kind === 'core') return expr.step
  if (expr.kind === 'constant') return expr.step
  if (expr.kind === 'lora' && expr.base) return owner(making, expr.base)
  const last = expr.kind === 'read' ? lastFinding(expr.view) : expr.aligned?.at(-1)
  if (last) return last.step
  if (expr.kind === 'lora') return owner(making, expr.right.read)
  return expr.kind === 'computed' ? expr.step : plan.models[plan.files[mainStored(expr.view).file]!.model]!.name
}

/** An expression without its last alignment; undefined if it has none. */
function before(expr: Expr): Expr | undefined {
  if (expr.kind === 'lora' && expr.base) {
    const base = before(expr.base)
    return base && { ...expr, base: base as ReadExpr }
  }
  if (expr.kind === 'read') {
    const view = withoutLastFinding(expr.view)
    return view && { kind: 'read', view }
  }
  const isAligned = expr.kind === 'computed' || expr.kind === 'lora'
  return isAligned && expr.aligned?.length ? { ...expr, aligned: expr.aligned.slice(0, -1) } : undefined
}

/** Reasons for tensors that a step made without a merge. All others are reasons for copies from a model or step. */
const STEP_MADE: ReadonlySet<CopyReason> = new Set(['aligned', 'repaired', 'zipped', 'transplanted', 'router'])

/** How a tensor was made, before it was quantized. */
export function howMade(
  making: Making,
  { name: tensor, expr: written, quantized, reason }: Pick<PlanTensor, 'name' | 'expr' | 'quantized' | 'reason'>,
): LineageMerge & Pick<LineageTensor, 'parts'> {
  const expr = quantized && written.kind === 'merge' ? written.inputs[0]! : written
  const isCopy = reason !== undefined && !STEP_MADE.has(reason)
  const describe = (at: Making) => (isCopy ? undefined : made(at, expr, tensor)) ?? copy(at, expr, tensor)
  const nested = isSmallTree(expr) ? describe(making) : undefined
  if (nested && depthOf(nested) <= DEEPEST) return nested
  const parts = new Map<string, LineagePart>()
  const flat = describe({ ...making, parts })
  return { ...flat, parts: [...parts.values()] }
}

function source(at: Making, name: string, expr: Expr, tensor: string, weight: number | null): LineageSource {
  const { parts } = at
  const own = owner(at, expr) === name
  const key = `${name}\0${tensor}`
  if (parts?.has(key)) return { model: name, tensor, weight }
  const of = own ? made(at, expr, tensor) : copy(at, expr, tensor)
  if (parts && of) {
    parts.set(key, { model: name, tensor, ...of })
    return { model: name, tensor, weight }
  }
  // A step's tensors have the names of the step's base; the names in files can differ.
  const stored = own && expr.kind === 'read' ? mainStored(expr.view).tensor : tensor
  const format = own && expr.kind === 'read' ? formatOf(expr.view) : undefined
  return { model: name, tensor: stored, weight, ...(format === undefined ? {} : { format }), ...(of ? { of } : {}) }
}

/** How the owner of an expression made it; undefined for a tensor that is read unchanged. */
function made(at: Making, expr: Expr, tensor: string): LineageMerge | undefined {
  const { plan, kinds } = at
  const aligned = before(expr)
  if (aligned) return step(at, kinds.get(owner(at, expr)) ?? 'computed', [aligned], tensor)
  if (expr.kind === 'merge' && isNoise(expr.method)) return noised(at, expr, tensor)
  if (expr.kind === 'merge') return isAdapted(expr.method) ? adapted(at, expr, tensor) : merge(at, expr, tensor)
  if (expr.kind === 'lora') {
    const { rank, scale } = expr
    return { ...step(at, 'lora', inputsOf(expr), tensor), parameters: { rank, scale } }
  }
  if (expr.kind === 'crop') {
    const { merge: inner, cropped } = expr
    return { ...merge(at, inner, tensor), cropped: { rows: inner.shape![0]!, models: cropped } }
  }
  if (expr.kind === 'core') return step(at, 'core', inputsOf(expr), tensor)
  if (expr.kind === 'constant') return { ...step(at, 'constant', [], tensor), parameters: { value: expr.value } }
  if (expr.kind === 'factor') {
    const { tensor, work } = plan.factorings[expr.factoring]!
    if (expr.merged) return mergedChanges(at, expr, expr.merged)
    const { rank, method } = work.options as Readonly<Record<string, Json>>
    const sources = expr.inputs.map((input) => source(at, owner(at, input), input, tensor, null))
    return {
      method: kinds.get(expr.step) ?? 'extract',
      parameters: { factor: expr.factor, rank: rank!, method: method!, scale: work.scale },
      sources: sources.slice(0, 1),
      base: sources[1]!,
    }
  }
  if (expr.kind !== 'computed') return undefined
  const own = plan.analyses.find(({ steps }) => steps.includes(expr.step))
  return {
    ...step(at, kinds.get(expr.step) ?? 'computed', expr.inputs, tensor),
    parameters: (own && analysisKindOf(own).parameters?.(own, expr.tensor)) ?? {},
  }
}

/** A factor of merged low-rank changes: the factors of each adapter are its sources. */
function mergedChanges(at: Making, expr: FactorExpr, { method, models, weights, parameters }: Merged): LineageMerge {
  const effective = lookupMethod(method)?.effective({ weights, parameters }) ?? []
  const weightOf = new Map(models.map((model, i) => [model, finite(effective[i])]))
  return {
    method,
    parameters: { ...(parameters as Readonly<Record<string, Json>>), factor: expr.factor },
    sources: expr.inputs.flatMap((input) => {
      if (input.kind !== 'read') return []
      const model = owner(at, input)
      return [{ model, tensor: mainStored(input.view).tensor, weight: weightOf.get(model) ?? null }]
    }),
  }
}

const step = (at: Making, method: string, inputs: readonly Expr[], tensor: string): LineageMerge => ({
  method,
  parameters: {},
  sources: inputs
    .flatMap((input) => partsIn(at, input))
    .map((input) =>
      source(at, owner(at, input), input, input.kind === 'read' ? mainStored(input.view).tensor : tensor, null),
    ),
})

function copy(at: Making, expr: Expr, tensor: string): LineageMerge {
  const parts = partsIn(at, expr)
  if (parts.length > 1) return step(at, 'concat', parts, tensor)
  return { method: 'copy', parameters: {}, sources: [source(at, owner(at, expr), expr, tensor, null)] }
}

/** The parts of a tensor that is read from several models. */
const partsIn = ({ plan }: Making, expr: Expr): readonly Expr[] =>
  expr.kind === 'read'
    ? partsByModel(expr.view, (file) => plan.files[file]!.model).map((view): ReadExpr => ({ kind: 'read', view }))
    : [expr]

/** A weight as an adapter changes it. */
const adapted = (at: Making, expr: MergeExpr, tensor: string): LineageMerge => ({
  ...step(at, expr.method, expr.inputs, tensor),
  parameters: { ...(expr.parameters as Readonly<Record<string, Json>>) },
  ...(expr.base ? { base: source(at, owner(at, expr.base), expr.base, tensor, null) } : {}),
})

/** A tensor with noise: how much of it, and not the numbers that choose it. */
function noised(at: Making, expr: MergeExpr, tensor: string): LineageMerge {
  const { stream: _, length: __, ...parameters } = expr.parameters as Readonly<Record<string, Json>>
  return { ...step(at, expr.method, expr.inputs, tensor), parameters }
}

function merge(at: Making, expr: MergeExpr, tensor: string): LineageMerge {
  const { scopes, bases } = at
  const method = lookupMethod(expr.method)
  if (!method) throw new Error(`internal: method ${expr.method} is not in the registry`)
  const scope = expr.scopeIndex === undefined ? undefined : scopes[expr.scopeIndex]
  const weights = method.effective(scope ? { ...expr, scope } : { weights: expr.weights, parameters: expr.parameters })
  return {
    method: expr.method,
    parameters: { ...(expr.parameters as Readonly<Record<string, Json>>) },
    sources: expr.models.map((name, i) => {
      const known = expr.statistics?.[i]
      const own = source(at, name, expr.inputs[i]!, tensor, finite(weights[i]))
      return known ? { ...own, statistics: source(at, owner(at, known), known, tensor, null) } : own
    }),
    ...(expr.base ? { base: source(at, bases.get(expr.step) ?? owner(at, expr.base), expr.base, tensor, null) } : {}),
  }
}
