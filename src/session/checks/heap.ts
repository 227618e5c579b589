/** Whether a plan has room in the heap of this process: V8 ends a process whose heap is full, without cleaning up. */
import { getHeapStatistics } from 'node:v8'
import type { Checkpoint } from '../../checkpoints/types.js'
import { type Diagnostic, fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import { largePlan } from '../../plan/limits.js'
import { originOf } from '../../plan/origins.js'
import type { Recipe } from '../../recipe/types.js'
import { kindOf } from '../../steps/index.js'

/** Of the program itself. Measured on Node 20. */
const PROGRAM_BYTES = 30e6
/** Of a model's tensor: its place, its name, and the digest of what is read. Measured on Node 20. */
const STORED_BYTES = 250
/** Of a tensor that a step or an output makes: expression, place and header. Measured on Node 20. */
const MADE_BYTES = 600

/**
 * Error `plan-too-large` where planning and running a recipe over these models takes more of V8's heap than there may be. `limit`: in
 * bytes.
 */
export function heapProblems(
  recipe: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  limit = getHeapStatistics().heap_size_limit,
): readonly Diagnostic[] {
  const sizeOf = (name: string): number => checkpoints.get(originOf(recipe, name))?.tensors.size ?? 0
  // Planning itself refuses such a recipe, whatever the heap.
  if (largePlan(recipe, sizeOf)) return []
  const pointsOf = (name: string): number => {
    const step = recipe.steps.find((step) => step.name === name)
    return (step && kindOf(step).count?.(step)) ?? 1
  }
  const made = [...recipe.steps.map(({ name }) => name), ...recipe.outputs.map(({ from }) => from)]
  const stored = [...checkpoints.values()].reduce((sum, { tensors }) => sum + tensors.size, 0)
  const tensors = made.reduce((sum, name) => sum + sizeOf(name) * pointsOf(name), 0)
  const needed = PROGRAM_BYTES + STORED_BYTES * stored + MADE_BYTES * tensors
  if (needed <= limit) return []
  const megabytes = Math.ceil((needed * 2) / 2 ** 30) * 1024
  return fault(
    'plan-too-large',
    `planning models with ${stored} tensors needs about ${formatSize(needed)} of memory, more than Node’s heap limit of ${formatSize(limit)}`,
    `raise the limit: NODE_OPTIONS=--max-old-space-size=${megabytes}`,
  ).diagnostics
}
