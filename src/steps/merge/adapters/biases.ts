/** PEFT keeps differences of biases (`lora_bias`) in all layers of an adapter, or in none. */
import { read, reshape, viewOf } from '../../../adapters/views.js'
import { plural } from '../../../core/words.js'
import type { ValueTensor } from '../../../expr/values.js'
import { type View, ZEROS } from '../../../views/types.js'
import type { PlanContext } from '../../types.js'
import type { MergeStep } from '../types.js'
import type { Changed } from './modules.js'
import type { MergedWeight } from './weighing.js'

/**
 * Gives the layers without a difference one of zeros. Error: `adapter-bias` for modules that can't have one. Warning: `adapter-bias` for
 * layers whose bias no adapter changes, because the base may have none there.
 */
export function completeBiases(
  step: MergeStep,
  { recipe, faults }: PlanContext,
  changed: Changed,
  weights: readonly MergedWeight[],
  biases: Map<string, ValueTensor>,
): boolean {
  const lacking = weights.filter(({ module }) => !biases.has(module))
  const place = recipe.placeOf(step.at, 'key')
  const unable = lacking.filter(({ embedding, experts }) => embedding || experts !== undefined)
  if (unable.length > 0) {
    faults.error(
      'adapter-bias',
      `the result has changes of biases (lora_bias), and PEFT can’t keep them in an adapter with embeddings or experts, such as ${unable[0]!.module}`,
      place,
      'skip the modules with filters, or apply each adapter to the base ({path: BASE, lora: ADAPTER}) and merge the models',
    )
    return false
  }
  const [own] = [...changed.biases.values()][0]!.changes.values()
  const known = new Set([...changed.biases.values()].map(({ module }) => module))
  const unknown = lacking.filter(({ module }) => !known.has(module))
  if (unknown.length > 0)
    faults.warn(
      'adapter-bias',
      `the result has changes of biases (lora_bias), which PEFT keeps in all layers: ${plural(unknown.length, 'layer')} without one, such as ${unknown[0]!.module}, ${unknown.length === 1 ? 'gets' : 'get'} a change of zeros`,
      place,
      'PEFT computes with them, but can’t merge them into layers of the base that have no bias',
    )
  for (const { module, b } of lacking)
    biases.set(module, {
      dtype: step.dtype ?? 'F32',
      shape: [b.shape[0]!],
      expr: read(zeros(own!.tensor, b.shape[0]!)),
    })
  return true
}

/** A view of no element of the tensor. */
function zeros(like: ValueTensor, count: number): View {
  const of = reshape(viewOf(like), [like.shape[0]!, 1])
  return reshape({ kind: 'gather', of: [of], map: { rows: count, runs: [count, ZEROS, 0], means: [] } }, [count])
}
