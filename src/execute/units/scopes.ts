import { elements } from '../../core/dtypes.js'
import type { PlanScope } from '../../expr/types.js'
import type { PassInput, ReducePass } from '../../methods/types.js'
import { scopeReduces, scopeSettings } from '../../plan/scopePasses.js'
import type { Job, PassRule } from '../compile/job.js'
import { compileReduce } from '../compile/tensor.js'
import { type Findings, leafValues } from '../findings.js'
import { refuseInterrupted } from '../interrupted.js'
import { schedule } from '../schedule/schedule.js'
import { noteDigests } from './digesting.js'
import type { Engine } from './types.js'

/**
 * The passes over all tensors of a step at once: pass after pass, the tensors of a pass in any order and in several turns. Their numbers are
 * combined in the order of tensors, so the order of execution does not change them.
 */
export interface ScopeRun {
  /** Whether a pass has nothing to find. Those before it are concluded. */
  skips(pass: number): boolean
  /** Does a pass over some tensors: indexes into `PlanScope.tensors`. */
  add(pass: number, tensors: readonly number[]): Promise<void>
  /** All tensors of a pass are done, or it is skipped. */
  conclude(pass: number): void
  /** By pass. */
  results(): readonly Float64Array[]
}

export function openScope(engine: Engine, index: number): ScopeRun {
  const { plan, kernels } = engine
  const own: Float64Array[] = []
  const scope = plan.scopes[index]!
  const reduces = scopeReduces(plan, scope)
  const settings = scopeSettings(plan, scope)
  const found: Findings = { ...engine.findings, scope: (of) => (of === index ? own : engine.findings.scope(of)) }
  const input = (): PassInput => ({ ...settings, results: own, scope: own, math: kernels.math })
  let total: Total | undefined
  return {
    skips: (pass) => reduces[pass]!.skip?.(input()) ?? false,
    async add(pass, tensors) {
      const { method } = scope.tensors[0]!.expr
      const rule = { kind: 'scope', method, pass, settings } as const
      total ??= totalOf(scope, reduces[pass]!)
      await overTensors(engine, scope, rule, reduces[pass]!, found, tensors, total)
      refuseInterrupted(engine.signal)
    },
    conclude(pass) {
      const { conclude, skip } = reduces[pass]!
      if (skip?.(input())) own.push(new Float64Array(0))
      else {
        const sums = (total ?? totalOf(scope, reduces[pass]!)).sums
        own.push(conclude ? conclude(sums, input()) : sums)
      }
      total = undefined
    },
    results: () => own,
  }
}

/** All passes of a scope over all of its tensors. Results by pass. */
export async function findScope(engine: Engine, index: number): Promise<readonly Float64Array[]> {
  const run = openScope(engine, index)
  const scope = engine.plan.scopes[index]!
  for (const pass of scopeReduces(engine.plan, scope).keys()) {
    if (!run.skips(pass)) await run.add(pass, [...scope.tensors.keys()])
    run.conclude(pass)
  }
  return run.results()
}

/** The combined numbers of a pass. */
interface Total {
  readonly sums: Float64Array
  readonly add: (tensor: number, part: Float64Array) => void
}

function totalOf(scope: PlanScope, pass: ReducePass): Total {
  const sums = new Float64Array(pass.slots)
  const firstMaximum = pass.slots - (pass.maxima ?? 0)
  const take = (part: Float64Array): void => {
    for (const [slot, value] of part.entries())
      sums[slot] = slot < firstMaximum ? sums[slot]! + value : Math.max(sums[slot]!, value)
  }
  // Counts are exact in any order, and there can be many of them.
  if (pass.combine === 'counts') return { sums, add: (_, part) => take(part) }
  const order = worked(scope)
  const early = new Map<number, Float64Array>()
  let next = 0
  return {
    sums,
    add(tensor, part) {
      early.set(tensor, part)
      for (let one = early.get(order[next]!); one; one = early.get(order[next]!)) {
        early.delete(order[next++]!)
        take(one)
      }
    },
  }
}

/** The tensors that have elements. */
const worked = ({ tensors }: PlanScope): number[] =>
  [...tensors.keys()].filter((tensor) => elements(tensors[tensor]!.shape) > 0)

/** One pass over some tensors of a scope. */
async function overTensors(
  engine: Engine,
  scope: PlanScope,
  rule: PassRule & { readonly kind: 'scope' },
  pass: ReducePass,
  findings: Findings,
  tensors: readonly number[],
  total: Total,
): Promise<void> {
  const { plan, pool, kernels, digests, progress, signal } = engine
  const own = new Set(tensors)
  const order = worked(scope).filter((tensor) => own.has(tensor))
  function* jobs(): Generator<Job> {
    for (const tensor of order) yield compileReduce(plan, scope.tensors[tensor]!, rule, pass, digests, findings)
  }
  await schedule(jobs(), pool, {
    math: kernels.math,
    ...(signal ? { signal } : {}),
    progress: (read, written) => progress.bytes(read, written),
    values: leafValues(findings),
    finished(index, result, job) {
      noteDigests(engine, job, result)
      total.add(order[index]!, result.results.at(-1)!)
    },
  })
}
