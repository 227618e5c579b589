/** Whether a plan fits into V8's heap. If the heap is full, V8 ends the process without cleaning up. */
import { getHeapStatistics } from 'node:v8'
import type { Checkpoint } from '../../checkpoints/types.js'
import { type Diagnostic, fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import { largePlan } from '../../plan/limits.js'
import { originOf } from '../../plan/origins.js'
import type { Recipe } from '../../recipe/types.js'
import { kindOf } from '../../steps/index.js'

/** Heap bytes of the program itself. Measured on Node 20. */
const PROGRAM_BYTES = 30e6
/** Heap bytes per tensor of a model: position, name and digest. Measured on Node 20. */
const STORED_BYTES = 250
/** Heap bytes per tensor that a step or an output makes: expression, position and header. Measured on Node 20. */
const MADE_BYTES = 600

/**
 * Error `plan-too-large` if planning and running a recipe over these models needs more of V8's heap than allowed. `limit`: in
 * bytes.
 */
export function heapProblems(
  recipe: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  limit = getHeapStatistics().heap_size_limit,
): readonly Diagnostic[] {
  const sizeOf = (name: string): number => checkpoints.get(originOf(recipe, name))?.tensors.size ?? 0
  // Planning refuses such a recipe, whatever the heap limit.
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
