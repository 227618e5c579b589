/**
 * The JSON that a unit's key is a digest of: its expression, without anything that does not change values. Stored
 * tensors appear as indexes into the unit's `reads`, earlier results as indexes into its `needs`.
 */

import { distinct } from '../core/collections/distinct.js'
import type { AnalysisTensor, Expr, LoraExpr, LoraFactor, MergeExpr } from '../expr/types.js'
import { factoringsOf, inputsOf, partsOf } from '../expr/walk.js'
import { lookupMethod } from '../methods/registry.js'
import type { Analysis } from '../steps/index.js'
import { type Finding, isFound, type View } from '../views/types.js'
import { tensorsOf } from './analysisCost.js'
import { type StoredTensors, storedTensors } from './stored.js'
import type { Plan } from './types.js'

/** A result that must exist before a unit can run. */
export interface Need {
  readonly kind: 'analysis' | 'scope' | 'factoring'
  readonly index: number
}

/** Collects what a unit reads and needs: each once, in the order of first mention. */
export interface Mentions {
  /** Numbers of stored tensors. */
  readonly reads: readonly number[]
  readonly needs: readonly Need[]
  read(place: { readonly file: number; readonly offset: number; readonly bytes: number }): number
  need(need: Need): number
}

export function mentions(stored: StoredTensors): Mentions {
  const reads = distinct<number>((number) => number)
  const needs = distinct<Need>(({ kind, index }) => `${kind}:${index}`)
  return {
    reads: reads.list,
    needs: needs.list,
    read: (place) => reads.index(stored.numberOf(place)),
    need: needs.index,
  }
}

/** What the forms need to know about the plan. */
export interface FormContext {
  readonly plan: Plan
  readonly stored: StoredTensors
  /** By step: the analysis that finds its alignment, and the step's index in that analysis. */
  readonly foundBy: ReadonlyMap<string, { readonly index: number; readonly model: number }>
}

export function formContext(plan: Plan): FormContext {
  const foundBy = plan.analyses.flatMap((analysis, index) =>
    analysis.steps.map((step, model) => [step, { index, model }] as const),
  )
  return { plan, stored: storedTensors(plan), foundBy: new Map(foundBy) }
}

/**
 * A tensor's expression as a list of parts, each once and after its inputs. `own`: the scope that the form belongs to;
 * a scope never needs itself.
 */
export function exprForm(
  expr: Expr,
  tensor: string,
  { plan, foundBy }: FormContext,
  { read, need }: Mentions,
  own?: number,
): unknown[] {
  // The inputs of a factor belong to its factoring.
  const parts = partsOf([expr], (part) => (part.kind === 'factor' ? [] : inputsOf(part)))
  const places = new Map(parts.map((part, index) => [part, index]))
  const placeOf = (part: Expr | undefined): number | null => (part ? places.get(part)! : null)
  const all = (exprs: readonly Expr[] = []) => exprs.map(placeOf)

  const alignment = ({ step, tensor }: Finding): unknown => {
    const found = foundBy.get(step)
    if (!found) throw new Error(`internal: no analysis is for ${step}`)
    return [need({ kind: 'analysis', index: found.index }), found.model, tensor]
  }
  const viewForm = (view: View): unknown => {
    switch (view.kind) {
      case 'stored': {
        const { tensor, dtype, shape, strides } = view
        return { read: read(view), tensor, dtype, shape, ...(strides ? { strides } : {}) }
      }
      case 'slice':
      case 'permute':
      case 'reshape':
      case 'repeat':
        return { ...view, of: viewForm(view.of) }
      case 'concat':
        return { ...view, parts: view.parts.map(viewForm) }
      case 'decode':
        return { ...view, of: view.of.map(viewForm) }
      case 'gather':
        return { ...view, of: view.of.map(viewForm), map: isFound(view) ? alignment(view.map) : view.map }
    }
  }
  const mergeForm = (of: MergeExpr): unknown => {
    const { method, weights, parameters, inputs, base, statistics, scopeIndex, shape, rounded, models } = of
    const scope =
      scopeIndex === own ? 'own' : scopeIndex === undefined ? null : need({ kind: 'scope', index: scopeIndex })
    return {
      ...{ method, weights, parameters, inputs: all(inputs), base: placeOf(base), shape, rounded },
      ...(statistics ? { statistics: all(statistics) } : {}),
      ...(scopeIndex === undefined ? {} : { scope }),
      // Random numbers depend on these names.
      ...(lookupMethod(method)?.random ? { random: [plan.seed, models, tensor] } : {}),
    }
  }
  const form = (of: Expr): unknown => {
    switch (of.kind) {
      case 'read':
        return viewForm(of.view)
      case 'merge':
        return mergeForm(of)
      case 'lora':
        return loraForm(of, placeOf, alignment)
      case 'crop':
        return { crop: placeOf(of.merge), base: placeOf(of.base), shape: of.shape }
      case 'computed': {
        const { step, tensor, shape, inputs, aligned = [] } = of
        const computed = alignment({ step, tensor })
        return { computed, shape, inputs: all(inputs), aligned: aligned.map(alignment) }
      }
      case 'factor': {
        const [first, ...more] = factoringsOf(of).map((index) => need({ kind: 'factoring', index }))
        return { factor: of.factor, of: first, shape: of.shape, ...(more.length > 0 ? { more } : {}) }
      }
      case 'constant':
        return { constant: of.value, shape: of.shape }
      case 'core': {
        const { of: changes, part, shape } = of
        const parts = changes.parts.map(({ a, b, rank, scale }) => [placeOf(a), placeOf(b), rank, scale])
        return { core: parts, part, shape }
      }
    }
  }
  return parts.map(form)
}

/** An update by an adapter. */
function loraForm(
  { base, shape, rank, scale, left, right, aligned, matrices }: LoraExpr,
  placeOf: (part: Expr | undefined) => number | null,
  alignment: (finding: Finding) => unknown,
): unknown {
  const factorOf = (factor: LoraFactor | undefined): unknown =>
    factor && {
      ...{ read: placeOf(factor.read), byRank: factor.byRank },
      ...(factor.times ? { times: placeOf(factor.times) } : {}),
      ...(factor.core ? { core: placeOf(factor.core.read), inner: factor.core.inner } : {}),
    }
  return {
    ...{ lora: placeOf(base), shape, rank, scale, left: factorOf(left), right: factorOf(right) },
    ...(aligned ? { aligned: aligned.map(alignment) } : {}),
    ...(matrices === undefined ? {} : { matrices }),
  }
}

/**
 * Every field of an analysis that affects its findings or its record. Names of steps and models are skipped: `named`
 * writes a record under other names. Tensors and models are recognized by identity, since a permutation spec may use
 * any word as a key.
 */
export function analysisForm(analysis: Analysis, context: FormContext, mentioned: Mentions): unknown {
  const tensors = new Set<unknown>(tensorsOf(analysis))
  const seen = new Set<unknown>()
  const visit = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
    if (Array.isArray(value)) return value.map(visit)
    if (tensors.has(value)) {
      seen.add(value)
      const { name, dtype, shape, expr } = value as AnalysisTensor
      return { name, dtype, shape, expr: exprForm(expr, name, context, mentioned) }
    }
    const nameless = isModel(value, tensors)
    const kept = Object.entries(value).filter(([key]) => !(nameless && key === 'name'))
    return Object.fromEntries(kept.map(([key, inner]) => [key, visit(inner)]))
  }
  const { steps: _, ...rest } = analysis
  const form = visit(rest)
  if (seen.size < tensors.size)
    throw new Error(`internal: a tensor that ${analysis.steps[0]} reads is not part of its analysis`)
  return form
}

/** Whether this is a model of an analysis. */
const isModel = (value: object, tensors: ReadonlySet<unknown>): boolean =>
  'tensors' in value && Array.isArray(value.tensors) && tensors.has(value.tensors[0])
