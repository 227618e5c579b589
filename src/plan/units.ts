/**
 * The units of a plan: pieces of work that terge can run, record and reuse one by one. They are created on request,
 * since a plan may have a million tensors. A unit's key identifies the computation, not its inputs: a recorded unit
 * with the same key and inputs with the same digests has the same result.
 */
import { sha256 } from '../core/digest.js'
import { computeOf, factoringInputs, leavesOf } from '../expr/cost.js'
import type { Expr } from '../expr/types.js'
import { storedOf } from '../views/stored.js'
import { tensorsOf } from './analysisCost.js'
import { wholePlacement, writtenBytes } from './placements.js'
import type { StoredTensors } from './stored.js'
import type { Plan } from './types.js'
import {
  analysisForm,
  exprForm,
  type FormContext,
  formContext,
  type Mentions,
  mentions,
  type Need,
} from './unitForms.js'

/** Increment this only if the same expression over the same inputs gives other bytes than before. */
const ARITHMETIC = 1

export type UnitKind = Need['kind'] | 'tensor' | 'digest'

export interface Unit {
  /** Unique in the plan: `analysis 0`, `tensor 1 27`. */
  readonly id: string
  readonly kind: UnitKind
  /**
   * `sha256:…` over the computation: the expression with stored tensors as indexes into `reads`, the keys of `needs`,
   * and the version of the arithmetic. It does not depend on paths, names of models and files, outputs, threads or
   * other units. The one exception: random numbers depend on the model's name.
   */
  readonly key: string
  /** Units that must run before this one. */
  readonly needs: readonly Need[]
  /** Numbers of stored tensors (see `StoredTensors`), without those that only `needs` read. */
  readonly reads: readonly number[]
  /** The planned tensors that the unit writes. */
  readonly makes: readonly { readonly output: number; readonly tensor: number }[]
  /** Bytes of stored tensors read and of tensors written, each counted once. */
  readonly cost: { readonly read: number; readonly write: number }
}

export interface PlanUnits {
  readonly stored: StoredTensors
  unit(need: Need): Unit
  tensor(output: number, tensor: number): Unit
  /** Analyses and scopes, each after what it needs. */
  shared(): readonly Unit[]
  /** In the order of outputs and of their tensors. */
  tensors(): Generator<Unit>
  /** One unit per stored tensor that no other unit reads. Digests of whole files need them. */
  digests(): Generator<Unit>
}

export function planUnits(plan: Plan): PlanUnits {
  const context = formContext(plan)
  const { stored } = context
  const known = new Map<string, Unit>()
  let unread: readonly number[] | undefined
  const unit = (need: Need): Unit => {
    const id = `${need.kind} ${need.index}`
    const found = known.get(id) ?? make(id, need)
    known.set(id, found)
    return found
  }

  function make(id: string, { kind, index }: Need): Unit {
    const mentioned = mentions(stored)
    const form = FORMS[kind](index, context, mentioned)
    return finish(id, kind, form, mentioned)
  }

  function finish(id: string, kind: UnitKind, form: unknown, { reads, needs }: Mentions): Unit {
    const key = sha256(
      JSON.stringify({ arithmetic: ARITHMETIC, kind, form, needs: needs.map((need) => unit(need).key) }),
    )
    const read = reads.reduce((sum, number) => sum + stored.placeOf(number).bytes, 0)
    return { id, kind, key, needs, reads, makes: [], cost: { read, write: 0 } }
  }

  function tensor(output: number, index: number): Unit {
    const planned = plan.outputs[output]!.tensors[index]!
    const { name, dtype, shape, expr } = planned
    const mentioned = mentions(stored)
    const compute = computeOf(plan.compute, expr)
    // Digests cover stored parts, so the cuts of a tensor are part of its key.
    const cuts = wholePlacement(planned) ? {} : { cuts: planned.placements.map(({ from, count }) => [from, count]) }
    const form = { dtype, shape, ...cuts, compute, parts: exprForm(expr, name, context, mentioned) }
    const made = finish(`tensor ${output} ${index}`, 'tensor', form, mentioned)
    return { ...made, makes: [{ output, tensor: index }], cost: { ...made.cost, write: writtenBytes(planned) } }
  }

  return {
    stored,
    unit,
    tensor,
    shared: () => sharedUnits(plan, unit),
    *tensors() {
      for (const [output, { tensors }] of plan.outputs.entries())
        for (const index of tensors.keys()) yield tensor(output, index)
    },
    *digests() {
      unread ??= unreadTensors(plan, stored)
      for (const number of unread) {
        const { bytes } = stored.placeOf(number)
        yield finish(`digest ${number}`, 'digest', bytes, { ...mentions(stored), reads: [number] })
      }
    },
  }
}

/** The stored tensors that an expression reads, each once. */
export const readsOf = (expr: Expr, stored: StoredTensors): number[] => [
  ...new Set(leavesOf(expr).flatMap(({ view }) => storedOf(view).map((place) => stored.numberOf(place)))),
]

/** Numbers of stored tensors that no output, analysis or scope reads. */
export function unreadTensors(plan: Plan, stored: StoredTensors): number[] {
  const read = new Uint8Array(stored.count)
  const tensors = [...plan.outputs, ...plan.scopes].flatMap(
    ({ tensors }) => tensors as readonly { readonly expr: Expr }[],
  )
  for (const { expr } of [...tensors, ...plan.analyses.flatMap(tensorsOf)])
    for (const leaf of leavesOf(expr)) for (const place of storedOf(leaf.view)) read[stored.numberOf(place)] = 1
  return [...stored.numbers()].filter((number) => read[number] === 0)
}

/** For each kind of unit, the JSON that its key is a digest of. */
const FORMS: Readonly<Record<Need['kind'], (index: number, context: FormContext, mentioned: Mentions) => unknown>> = {
  analysis(index, context, mentioned) {
    const { compute } = context.plan
    return { compute, analysis: analysisForm(context.plan.analyses[index]!, context, mentioned) }
  },
  scope(index, context, mentioned) {
    const { compute, scopes } = context.plan
    return scopes[index]!.tensors.map(({ name, shape, expr }) => ({
      ...{ shape, compute: computeOf(compute, expr) },
      parts: exprForm(expr, name, context, mentioned, index),
    }))
  },
  factoring(index, context, mentioned) {
    const factoring = context.plan.factorings[index]!
    const { tensor, shape, work, changes } = factoring
    const form = (expr: Expr) => exprForm(expr, tensor, context, mentioned)
    const inputs = factoringInputs(factoring).map(({ part }) => form(part))
    if (changes) return { shape, work, changes: inputs }
    const [tuned, origin] = inputs
    return { shape, work, from: tuned, base: origin }
  },
}

function sharedUnits({ analyses, scopes }: Plan, unit: (need: Need) => Unit): Unit[] {
  const ordered = new Map<string, Unit>()
  const visit = (need: Need): void => {
    const { id, needs } = unit(need)
    if (ordered.has(id)) return
    for (const before of needs) visit(before)
    ordered.set(id, unit(need))
  }
  for (const index of analyses.keys()) visit({ kind: 'analysis', index })
  for (const index of scopes.keys()) visit({ kind: 'scope', index })
  return [...ordered.values()]
}
