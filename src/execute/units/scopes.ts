import { elements } from '../../core/dtypes.js'
import { passesOf, settingsOf } from '../../expr/cost.js'
import type { PlanScope } from '../../expr/types.js'
import type { ReducePass } from '../../methods/types.js'
import type { Plan } from '../../plan/types.js'
import type { Job, PassRule } from '../compile/job.js'
import { compileReduce } from '../compile/tensor.js'
import { type Findings, leafValues } from '../findings.js'
import { refuseInterrupted } from '../interrupted.js'
import { schedule } from '../schedule/schedule.js'
import { noteDigests } from './digesting.js'
import type { Engine } from './types.js'

/**
 * The passes over all tensors of a step at once: pass after pass, the tensors of a pass in any order. Their numbers are combined in the
 * order of tensors, so the order of execution does not change them. Results by pass.
 */
export async function findScope(engine: Engine, index: number): Promise<readonly Float64Array[]> {
  const { plan, kernels, signal } = engine
  const own: Float64Array[] = []
  const scope = plan.scopes[index]!
  const { settings, reduces } = declared(plan, scope)
  const found: Findings = { ...engine.findings, scope: (of) => (of === index ? own : engine.findings.scope(of)) }
  for (const [place, pass] of reduces.entries()) {
    const input = { ...settings, results: own, scope: own, math: kernels.math }
    if (pass.skip?.(input)) {
      own.push(new Float64Array(0))
      continue
    }
    const rule = { kind: 'scope', method: scope.tensors[0]!.expr.method, pass: place, settings } as const
    const total = await overScope(engine, scope, rule, pass, found)
    refuseInterrupted(signal)
    own.push(pass.conclude ? pass.conclude(total, input) : total)
  }
  return own
}

/** The passes of a scope's method, for the settings of its first tensor. */
function declared(plan: Plan, { tensors }: PlanScope) {
  const { expr, name, shape } = tensors[0]!
  const settings = settingsOf(expr, name, shape, plan.seed)
  return { settings, reduces: passesOf(expr, settings).scope?.reduces ?? [] }
}

/** One pass over all tensors of a scope. */
async function overScope(
  engine: Engine,
  scope: PlanScope,
  rule: PassRule & { readonly kind: 'scope' },
  pass: ReducePass,
  findings: Findings,
): Promise<Float64Array> {
  const { plan, pool, kernels, digests, progress, signal } = engine
  function* jobs(): Generator<Job> {
    for (const tensor of scope.tensors)
      if (elements(tensor.shape) > 0) yield compileReduce(plan, tensor, rule, pass, digests, findings)
  }
  const total = new Float64Array(pass.slots)
  const firstMaximum = pass.slots - (pass.maxima ?? 0)
  const early = new Map<number, Float64Array>()
  let next = 0
  await schedule(jobs(), pool, {
    math: kernels.math,
    ...(signal ? { signal } : {}),
    progress: (read, written) => progress.bytes(read, written),
    values: leafValues(findings),
    finished(index, result, job) {
      noteDigests(engine, job, result)
      early.set(index, result.results.at(-1)!)
      for (let part = early.get(next); part; part = early.get(next)) {
        early.delete(next++)
        for (const [slot, value] of part.entries())
          total[slot] = slot < firstMaximum ? total[slot]! + value : Math.max(total[slot]!, value)
      }
    },
  })
  return total
}
