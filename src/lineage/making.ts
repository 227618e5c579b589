/** How tensors came about, in the lineage's words: from expressions, whose names are those of what they make, in fused steps too. */
import type { Json } from '../core/json/shape.js'
import type { Expr, MergeExpr, ReadExpr } from '../expr/types.js'
import { inputsOf, LARGEST_TREE, treeSize } from '../expr/walk.js'
import { lookupMethod } from '../methods/registry.js'
import type { Plan } from '../plan/types.js'
import type { Recipe } from '../recipe/types.js'
import { kindOf } from '../steps/index.js'
import { lastFinding, mainStored, withoutLastFinding } from '../views/stored.js'
import type { LineageMerge, LineagePart, LineageSource, LineageTensor } from './types.js'

/** What the words are taken from. */
export interface Making {
  readonly plan: Plan
  /** By scope of the plan, what its passes found. */
  readonly scopes: readonly (readonly Float64Array[])[]
  /** By step. */
  readonly kinds: ReadonlyMap<string, string>
  /** By step, the model or step whose form its result has. */
  readonly bases: ReadonlyMap<string, string | undefined>
  /** What steps made on the way to the tensor under way, by step and name, where it is listed and not nested. */
  readonly parts?: Map<string, LineagePart>
}

export const makingOf = (plan: Plan, { steps }: Pick<Recipe, 'steps'>, scopes: Making['scopes']): Making => ({
  ...{ plan, scopes },
  kinds: new Map(steps.map(({ name, kind }) => [name, kind])),
  bases: new Map(steps.map((step) => [step.name, kindOf(step).like(step)])),
})

/** A weight that is no number, since a norm was none, is not told. */
const finite = (weight: number | null | undefined): number | null =>
  weight !== null && weight !== undefined && Number.isFinite(weight) ? weight : null

/** Steps within steps that are nested at the most: readers of lineages go twice as deep. */
const DEEPEST = 24

function depthOf({ sources, base }: LineageMerge): number {
  const below = [...sources, ...(base ? [base] : [])].flatMap(({ of }) => (of ? [depthOf(of)] : []))
  return below.reduce((most, depth) => Math.max(most, depth + 1), 0)
}

/** Who an expression belongs to: the step that makes it, or the model whose file it reads. */
function owner(making: Making, expr: Expr): string {
  const { plan } = making
  if (expr.kind === 'merge' || expr.kind === 'crop' || expr.kind === 'factor') return expr.step
  if (expr.kind === 'lora') return owner(making, expr.base)
  const last = expr.kind === 'read' ? lastFinding(expr.view) : expr.aligned?.at(-1)
  if (last) return last.step
  return expr.kind === 'computed' ? expr.step : plan.models[plan.files[mainStored(expr.view).file]!.model]!.name
}

/** An expression without the alignment that was applied last; undefined where there is none. */
function before(expr: Expr): Expr | undefined {
  if (expr.kind === 'lora') {
    const base = before(expr.base)
    return base && { ...expr, base: base as ReadExpr }
  }
  if (expr.kind === 'read') {
    const view = withoutLastFinding(expr.view)
    return view && { kind: 'read', view }
  }
  return expr.kind === 'computed' && expr.aligned?.length ? { ...expr, aligned: expr.aligned.slice(0, -1) } : undefined
}

/** How a tensor came about. `merged`: not as a copy of a model's or a step's. */
export function howMade(
  making: Making,
  expr: Expr,
  tensor: string,
  merged: boolean,
): LineageMerge & Pick<LineageTensor, 'parts'> {
  const describe = (at: Making) => (merged ? made(at, expr, tensor) : undefined) ?? copy(at, expr, tensor)
  const nested = treeSize(expr) <= LARGEST_TREE ? describe(making) : undefined
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
  // A step's tensors have the names of the step's base; a file's may be called otherwise.
  const stored = own && expr.kind === 'read' ? mainStored(expr.view).tensor : tensor
  return { model: name, tensor: stored, weight, ...(of ? { of } : {}) }
}

/** How the owner of an expression came by it; undefined for a tensor that is read as it is. */
function made(at: Making, expr: Expr, tensor: string): LineageMerge | undefined {
  const { plan, kinds } = at
  const aligned = before(expr)
  if (aligned) return step(at, kinds.get(owner(at, expr)) ?? 'computed', [aligned], tensor)
  if (expr.kind === 'merge') return merge(at, expr, tensor)
  if (expr.kind === 'lora') {
    const { rank, scale } = expr
    return { ...step(at, 'lora', inputsOf(expr), tensor), parameters: { rank, scale } }
  }
  if (expr.kind === 'crop') {
    const { merge: inner, cropped } = expr
    return { ...merge(at, inner, tensor), cropped: { rows: inner.shape![0]!, models: cropped } }
  }
  if (expr.kind === 'factor') {
    const { tensor, work } = plan.factorings[expr.factoring]!
    const { rank, method } = work.options as Readonly<Record<string, Json>>
    const sources = expr.inputs.map((input) => source(at, owner(at, input), input, tensor, null))
    return {
      method: kinds.get(expr.step) ?? 'extract',
      parameters: { factor: expr.factor, rank: rank!, method: method!, scale: work.scale },
      sources: sources.slice(0, 1),
      base: sources[1]!,
    }
  }
  return expr.kind === 'computed' ? step(at, kinds.get(expr.step) ?? 'computed', expr.inputs, tensor) : undefined
}

const step = (at: Making, method: string, inputs: readonly Expr[], tensor: string): LineageMerge => ({
  method,
  parameters: {},
  sources: inputs.map((input) =>
    source(at, owner(at, input), input, input.kind === 'read' ? mainStored(input.view).tensor : tensor, null),
  ),
})

const copy = (at: Making, expr: Expr, tensor: string): LineageMerge => ({
  method: 'copy',
  parameters: {},
  sources: [source(at, owner(at, expr), expr, tensor, null)],
})

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
