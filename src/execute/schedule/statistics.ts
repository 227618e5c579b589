/**
 * Checks statistics files before anything is merged with them. Fisher information is a mean of squares and has no
 * negative element. A Gram matrix XᵀX is symmetric with a diagonal of squares. Anything else is another model's weights, or
 * other data that would give a meaningless merge.
 */

import { type Diagnostic, Fault } from '../../core/diagnostics.js'
import { elements } from '../../core/dtypes.js'
import { agree, plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import { mergesOf } from '../../expr/cost.js'
import type { ScalarMath } from '../../kernels/types.js'
import { lookupMethod } from '../../methods/registry.js'
import type { ReducePass } from '../../methods/types.js'
import type { Plan } from '../../plan/types.js'
import { type Lowering, lower } from '../../views/lower.js'
import type { StoredView, View } from '../../views/types.js'
import type { Job } from '../compile/job.js'
import type { Pool } from '../pools/types.js'
import type { Leaf } from '../program.js'
import { schedule } from './schedule.js'

interface Claim {
  readonly model: string
  readonly tensor: string
  readonly kind: 'fisher' | 'gram'
  readonly view: StoredView
  /** The stored shape. */
  readonly shape: readonly number[]
}

/** Relative tolerance for rounding. Other matrices differ from their transpose by about their own size. */
const ASYMMETRY = 1e-2

/** Counts elements that are negative, not finite, and not 0. */
const NEGATIVES: ReducePass = { kernel: 'negatives', slots: 3, combine: 'counts' }
const COMPARE: ReducePass = { kernel: 'compare', slots: 5, combine: 'sums', maxima: 1 }

export interface StatisticsOptions {
  readonly math: ScalarMath
  readonly signal?: AbortSignal
}

/** Throws `bad-statistics` with exit code 2, because nothing is written yet. Returns warnings. */
export async function checkStatistics(plan: Plan, pool: Pool, options: StatisticsOptions): Promise<Diagnostic[]> {
  const claims = claimsOf(plan)
  const checks = claims.flatMap((claim) => checksOf(claim).map((check) => ({ ...check, claim })))
  const found = new Map<string, { readonly claim: Claim; readonly what: string; more: number }>()
  const wrong = new Map<number, string>()
  // If a model's statistics are all 0, they have no effect.
  const some = new Set<string>()
  await schedule(
    checks.map(({ job }) => job),
    pool,
    {
      math: options.math,
      ...(options.signal ? { signal: options.signal } : {}),
      progress: () => {},
      finished(index, { results }) {
        const what = checks[index]!.judge(results[0]!)
        if (what !== undefined) wrong.set(index, what)
        if (checks[index]!.hasSome(results[0]!)) some.add(checks[index]!.claim.model)
      },
    },
  )
  for (const [index, what] of [...wrong].sort(([a], [b]) => a - b)) {
    const { claim } = checks[index]!
    const before = found.get(claim.model)
    if (!before) found.set(claim.model, { claim, what, more: 0 })
    else if (before.claim.tensor !== claim.tensor) before.more++
  }
  if (found.size > 0 && !options.signal?.aborted) throw new Fault([...found.values()].map(diagnosticOf), 2)
  const empty = new Set(claims.map(({ model }) => model).filter((model) => !some.has(model)))
  return [...empty].map((model) => ({
    severity: 'warning',
    code: 'bad-statistics',
    message: `the statistics of ${model} are 0 in all merged tensors, so they have no effect`,
    hint: 'check the script that computed them',
  }))
}

const diagnosticOf = ({ claim, what, more }: { claim: Claim; what: string; more: number }): Diagnostic => ({
  severity: 'error',
  code: 'bad-statistics',
  message: `the statistics of ${claim.model} are ${claim.kind === 'fisher' ? 'not Fisher information' : 'not Gram matrices'}: ${claim.tensor} ${what}${more > 0 ? `; ${plural(more, 'other tensor')} ${agree(more, 'is', 'are')} also wrong` : ''}`,
  hint:
    claim.kind === 'fisher'
      ? 'set statistics to a file of mean squared gradients with the model’s tensor names, not to weights'
      : 'set statistics to a file with XᵀX of each layer’s inputs, with the names of the model’s matrices',
})

/** The files of a plan that `checkStatistics` reads. */
export const statisticsFiles = (plan: Plan): Set<number> => new Set(claimsOf(plan).map(({ view }) => view.file))

/** Every stored tensor that a method uses as statistics, once. */
function claimsOf(plan: Plan): Claim[] {
  const claims = new Map<string, Claim>()
  for (const { name, shape, expr } of plan.outputs.flatMap(({ tensors }) => tensors))
    for (const { merge, shape: own } of mergesOf(expr, shape)) {
      const kind = lookupMethod(merge.method)?.statistics === 'gram' ? ('gram' as const) : ('fisher' as const)
      for (const [index, read] of (merge.statistics ?? []).entries()) {
        const view = read.kind === 'read' ? read.view : undefined
        if (view?.kind !== 'stored' || !isFloat(view.dtype)) continue
        const columns = own.at(-1) ?? 1
        const [model, stored] = [merge.models[index]!, kind === 'gram' ? [columns, columns] : own]
        const key = `${kind}:${view.file}:${view.offset}`
        if (elements(stored) > 0 && !claims.has(key))
          claims.set(key, { model, tensor: name, kind, view, shape: stored })
      }
    }
  return [...claims.values()]
}

interface Check {
  readonly job: Job
  /** The error, from the pass's numbers; undefined if there is none. */
  readonly judge: (numbers: Float64Array) => string | undefined
  readonly hasSome: (numbers: Float64Array) => boolean
}

function checksOf({ kind, view, shape }: Claim): Check[] {
  if (kind === 'fisher') return [{ job: jobOf([view], elements(shape), NEGATIVES), judge: negatives(''), hasSome }]
  const matrix: View = { kind: 'reshape', of: view, shape }
  const [side = 1] = shape
  return [
    {
      job: jobOf([matrix, { kind: 'permute', of: matrix, axes: [1, 0] }], side * side, COMPARE),
      judge: asymmetric,
      hasSome: ([squares = 0]) => squares > 0,
    },
    { job: jobOf([diagonalOf(view, side)], side, NEGATIVES), judge: negatives(' on its diagonal'), hasSome },
  ]
}

/** The diagonal of a stored square matrix. */
function diagonalOf(view: StoredView, side: number): StoredView {
  const [down = side, along = 1] = view.strides ?? [side, 1]
  return { ...view, shape: [side], strides: [down + along] }
}

const hasSome = ([, , some = 0]: Float64Array): boolean => some > 0

const negatives =
  (where: string) =>
  ([negative = 0, other = 0]: Float64Array): string | undefined =>
    negative > 0
      ? `has ${plural(negative, 'negative element')}${where}`
      : other > 0
        ? `has ${plural(other, 'element')} that ${agree(other, 'is', 'are')} NaN or infinite${where}`
        : undefined

function asymmetric([squares = 0, , , differences = 0]: Float64Array): string | undefined {
  if (!Number.isFinite(squares)) return 'has elements that are NaN or infinite'
  return differences <= ASYMMETRY ** 2 * squares ? undefined : 'is not symmetric'
}

/** Statistics are read as stored, without findings. */
const STORED: Lowering = { raw: false, mixed: 'F64', maps: () => [] }

/** A program with one pass over stored tensors that writes nothing. */
function jobOf(views: readonly View[], count: number, pass: ReducePass): Job {
  const leaves = views.map((view): Leaf => ({ ...lower(view, STORED), digestIn: -1 }))
  const { kernel, slots, combine } = pass
  const inputs = leaves.map((_, leaf) => leaf)
  const node = leaves.length
  return {
    program: {
      elements: count,
      compute: leaves.some(({ dtype }) => dtype === 'F64') ? 'f64' : 'f32',
      rowLength: 0,
      leaves,
      nodes: [
        ...inputs.map((leaf) => ({ kind: 'read', leaf }) as const),
        { kind: 'merge', kernel: 'linear', inputs, base: -1, merge: 0, rows: false, scratch: 0 },
      ],
      passes: [{ kind: 'reduce', node, kernel, slots, combine, rows: false }],
    },
    merges: [
      {
        rule: { kind: 'plain', reduces: [pass] },
        settings: { tensor: '', shape: [count], models: [], weights: [], parameters: {}, seed: 0, onBase: false },
        own: [0],
        scope: [],
      },
    ],
  }
}
