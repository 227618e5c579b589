/** What people want to see of a plan that it does not say itself. */

import { estimateMemory } from '../../execute/budget.js'
import { heldSeconds } from '../../expr/cost.js'
import type { Expr } from '../../expr/types.js'
import { inputsOf, jsonForm, withShared } from '../../expr/walk.js'
import type { Plan } from '../../plan/types.js'
import type { Lines } from '../../steps/analysis.js'
import { analysisKindOf, kindOf } from '../../steps/index.js'
import { mainStored } from '../../views/stored.js'

/** What a plan takes on one machine, and how it reads to people and programs. */
export interface PlanView {
  readonly threads: number
  /** Peak anonymous memory, in bytes. */
  readonly memory: number
  /** Where matrices are held whole: roughly how long the work on them takes. */
  readonly heldSeconds?: number
  /** By `Plan.steps`: what is said of each besides its patterns. */
  readonly steps: readonly (readonly Lines[])[]
  /** By `Plan.analyses`: what each will do. */
  readonly analyses: readonly Lines[]
  /** By the index of the adapter's model. */
  readonly updates: ReadonlyMap<number, AdapterUpdates>
  /** The plan for JSON: an expression that steps share is written once. */
  readonly data: () => object
}

/** A plan seen from a machine that runs it with so many threads. */
export function viewPlan(plan: Plan, { threads }: { readonly threads: number }): PlanView {
  const { held } = plan.cost
  return {
    threads,
    memory: estimateMemory(plan, threads),
    ...(held ? { heldSeconds: heldSeconds(held.operations, threads) } : {}),
    steps: plan.steps.map((step) => kindOf(step).planLines?.(step, plan, step.left) ?? []),
    analyses: plan.analyses.map((analysis, index) =>
      analysisKindOf(analysis).lines(analysis, plan.cost.analyses![index]!),
    ),
    updates: adapterUpdates(plan),
    data: () => planAsData(plan),
  }
}

const planAsData = (plan: Plan): object => ({
  ...withShared(plan),
  outputs: plan.outputs.map((output) => ({
    ...output,
    tensors: output.tensors.map((tensor) => ({ ...tensor, expr: jsonForm(tensor.expr) })),
  })),
})

/** The ranks and scales of an adapter's updates, and the tensors of its file that they are of. */
export interface AdapterUpdates {
  readonly ranks: Set<number>
  readonly scales: Set<number>
  readonly tensors: Set<string>
}

/** By the index of the adapter's model. */
function adapterUpdates(plan: Plan): ReadonlyMap<number, AdapterUpdates> {
  const found = new Map<number, AdapterUpdates>()
  const seen = new Set<Expr>()
  const visit = (expr: Expr): void => {
    if (seen.has(expr)) return
    seen.add(expr)
    if (expr.kind !== 'lora') {
      for (const input of inputsOf(expr)) visit(input)
      return
    }
    const read = mainStored(expr.right.read.view)
    const model = plan.files[read.file]?.model ?? -1
    const entry = found.get(model) ?? { ranks: new Set(), scales: new Set(), tensors: new Set() }
    found.set(model, entry)
    entry.ranks.add(expr.rank)
    entry.scales.add(expr.scale)
    entry.tensors.add(read.tensor)
  }
  for (const { expr } of plan.outputs.flatMap(({ tensors }) => tensors)) visit(expr)
  return found
}
