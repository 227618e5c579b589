/** Information about a plan for people that the plan itself does not have. */

import {
  defaultMemory,
  estimateMemory,
  keptWithin,
  recallWithin,
  threadsThatFit,
  threadsWithin,
  usefulThreads,
} from '../../execute/budget.js'
import { windowMode } from '../../execute/windowMode.js'
import { heldSeconds } from '../../expr/cost.js'
import type { Expr, ReadExpr } from '../../expr/types.js'
import { inputsOf, jsonForm, withShared } from '../../expr/walk.js'
import { isAdapted } from '../../methods/adapted.js'
import type { Plan } from '../../plan/types.js'
import type { Lines } from '../../steps/analysis.js'
import { analysisKindOf, kindOf } from '../../steps/index.js'
import { mainStored } from '../../views/stored.js'
import type { Downloads } from '../opened/streaming.js'

/** A plan's needs on one machine, and texts for people and programs. */
export interface PlanView {
  /** How many threads a run uses. */
  readonly threads: number
  /** Peak anonymous memory, in bytes. */
  readonly memory: number
  /** The memory limit of a run, in bytes. If `memory` is more, the run is refused. */
  readonly limit: number
  /** What a run would fetch. Absent if all files are on this machine. */
  readonly downloads?: Downloads
  /** If whole matrices are kept in memory: roughly how long the work on them takes. */
  readonly heldSeconds?: number
  /** By `Plan.steps`: lines about each step besides its patterns. */
  readonly steps: readonly (readonly Lines[])[]
  /** By `Plan.analyses`: lines about what each one will do. */
  readonly analyses: readonly Lines[]
  /** By the index of the adapter's model. */
  readonly updates: ReadonlyMap<number, AdapterUpdates>
  /** The plan for JSON. Expressions that steps share are written once. */
  readonly data: () => object
}

/** How a run of the plan would use the machine. */
export interface ViewOptions {
  /** How many threads the run may use. */
  readonly threads: number
  /** The memory limit in bytes. Default: the limit of a run, and one thread if even that needs more. */
  readonly memory?: number
  /** What `planDownloads` has found. */
  readonly downloads?: Downloads
}

/**
 * Describes a plan for this machine: threads, memory in bytes, and texts for people.
 *
 * @throws `memory-too-small` if a given limit is not enough for one thread
 */
export function viewPlan(plan: Plan, options: ViewOptions): PlanView {
  const { held } = plan.cost
  const mode = windowMode()
  const useful = usefulThreads(plan, options.threads)
  const limit = options.memory ?? defaultMemory(plan)
  const threads =
    options.memory === undefined
      ? Math.max(1, threadsThatFit(plan, useful, limit, mode))
      : threadsWithin(plan, useful, limit, mode)
  return {
    threads,
    limit,
    memory:
      estimateMemory(plan, threads, mode, keptWithin(plan, threads, limit, mode)) +
      threads * recallWithin(plan, threads, limit, mode),
    ...(options.downloads ? { downloads: options.downloads } : {}),
    ...(held ? { heldSeconds: heldSeconds(held.operations, threads) } : {}),
    steps: plan.steps.map((step) => kindOf(step).planLines?.(step, plan, step.left) ?? []),
    analyses: plan.analyses.map((analysis, index) =>
      analysisKindOf(analysis).lines(analysis, plan.cost.analyses![index]!),
    ),
    updates: adapterUpdates(plan),
    data: () => planAsData(plan),
  }
}

/** The plan for JSON. The checkpoints of checks are those of a model and a step. */
export const planAsData = ({ checks, ...plan }: Plan): object => ({
  ...withShared(plan),
  ...(checks
    ? { checks: checks.map(({ step, tolerance, outputs }) => ({ step, tolerance, ...outputs[1].evaluate! })) }
    : {}),
  outputs: plan.outputs.map((output) => ({
    ...output,
    tensors: output.tensors.map((tensor) => ({ ...tensor, expr: jsonForm(tensor.expr) })),
  })),
})

/** The ranks and scales of an adapter's updates, and the tensors that it updates. */
export interface AdapterUpdates {
  readonly ranks: Set<number>
  readonly scales: Set<number>
  readonly tensors: Set<string>
}

/** By the index of the adapter's model. */
function adapterUpdates(plan: Plan): ReadonlyMap<number, AdapterUpdates> {
  const found = new Map<number, AdapterUpdates>()
  const seen = new Set<Expr>()
  const note = ({ view }: ReadExpr, rank: number | undefined, scale: number | undefined): void => {
    const { file, tensor } = mainStored(view)
    const model = plan.files[file]?.model ?? -1
    const entry = found.get(model) ?? { ranks: new Set(), scales: new Set(), tensors: new Set() }
    found.set(model, entry)
    if (rank !== undefined) entry.ranks.add(rank)
    if (scale !== undefined) entry.scales.add(scale)
    entry.tensors.add(tensor)
  }
  const visit = (expr: Expr): void => {
    // Nearly all parts of large plans are reads, which need no place in the set.
    if (expr.kind === 'read' || seen.has(expr)) return
    seen.add(expr)
    if (expr.kind === 'lora') {
      note(expr.right.read, expr.rank, expr.scale)
      if (expr.base) visit(expr.base)
      return
    }
    if (expr.kind === 'merge' && isAdapted(expr.method)) {
      for (const input of expr.base ? [expr.base] : expr.inputs.slice(0, 1)) visit(input)
      // Of two matrices that are multiplied, the first one counts.
      const change = expr.base ? expr.inputs[0] : expr.inputs[1]
      const scale = expr.base ? Number(expr.parameters.scale) : undefined
      // Magnitudes belong to an update that is counted.
      const isNorm = expr.method === 'adapter-rows' || expr.method === 'adapter-columns'
      if (isNorm) return
      if (change?.kind === 'read') note(change, undefined, scale)
      else if (change?.kind === 'lora') note(change.right.read, change.rank, scale ?? change.scale)
      return
    }
    for (const input of inputsOf(expr)) visit(input)
  }
  for (const { expr } of plan.outputs.flatMap(({ tensors }) => tensors)) visit(expr)
  return found
}
