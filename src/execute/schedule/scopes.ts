import { elements } from '../../core/dtypes.js'
import { passesOf, settingsOf } from '../../expr/cost.js'
import type { PlanScope } from '../../expr/types.js'
import type { ScalarMath } from '../../kernels/types.js'
import type { ReducePass } from '../../methods/types.js'
import type { Plan } from '../../plan/types.js'
import type { Job } from '../compile/job.js'
import { compileReduce } from '../compile/tensor.js'
import type { Findings } from '../findings.js'
import type { Pool } from '../pools/types.js'
import { schedule } from './schedule.js'

export interface ScopeOptions {
  readonly math: ScalarMath
  readonly progress: (read: number, written: number) => void
  readonly signal?: AbortSignal
}

/**
 * The passes over all tensors of a step at once: scope after scope, pass after pass, the tensors of a pass in any order.
 * Their numbers are combined in the order of tensors, so the order of finishing can't show. Results by scope, by pass; of scopes
 * that are known already, and of `wanted` ones.
 */
export async function findScopes(
  plan: Plan,
  pool: Pool,
  findings: Findings,
  options: ScopeOptions,
  wanted: Iterable<number> = plan.scopes.keys(),
): Promise<Findings['scopes']> {
  const found: (readonly Float64Array[])[] = [...findings.scopes]
  for (const index of wanted) {
    if (found[index]) continue
    const own: Float64Array[] = []
    found[index] = own
    const scope = plan.scopes[index]!
    const { settings, reduces } = declared(plan, scope)
    for (const pass of reduces) {
      const input = { ...settings, results: own, scope: own, math: options.math }
      if (pass.skip?.(input)) {
        own.push(new Float64Array(0))
        continue
      }
      const total = await overScope(plan, scope, pass, pool, { ...findings, scopes: found }, options)
      if (options.signal?.aborted) return found
      own.push(pass.conclude ? pass.conclude(total, input) : total)
    }
  }
  return found
}

/** What a scope's method asks for, by the settings of its first tensor. */
function declared(plan: Plan, { tensors }: PlanScope) {
  const { expr, name, shape } = tensors[0]!
  const settings = settingsOf(expr, name, shape, plan.seed)
  return { settings, reduces: passesOf(expr, settings).scope?.reduces ?? [] }
}

/** One pass over all tensors of a scope. */
async function overScope(
  plan: Plan,
  scope: PlanScope,
  { conclude: _, skip: __, ...pass }: ReducePass,
  pool: Pool,
  findings: Findings,
  options: ScopeOptions,
): Promise<Float64Array> {
  const jobs = scopeJobs(plan, scope, pass, findings)
  const total = new Float64Array(pass.slots)
  const firstMaximum = pass.slots - (pass.maxima ?? 0)
  const early = new Map<number, Float64Array>()
  let next = 0
  await schedule(jobs, pool, {
    ...options,
    finished(index, { results }) {
      early.set(index, results.at(-1)!)
      for (let part = early.get(next); part; part = early.get(next)) {
        early.delete(next++)
        for (const [slot, value] of part.entries())
          total[slot] = slot < firstMaximum ? total[slot]! + value : Math.max(total[slot]!, value)
      }
    },
  })
  return total
}

function* scopeJobs(plan: Plan, { tensors }: PlanScope, pass: ReducePass, findings: Findings): Generator<Job> {
  for (const tensor of tensors) if (elements(tensor.shape) > 0) yield compileReduce(plan, tensor, pass, findings)
}

/** The programs of all scopes, to find out what a pool must have room for. */
export function* scopePrograms(plan: Plan, findings: Findings): Generator<Job['program']> {
  for (const scope of plan.scopes)
    for (const pass of declared(plan, scope).reduces)
      for (const { program } of scopeJobs(plan, scope, pass, findings)) yield program
}
