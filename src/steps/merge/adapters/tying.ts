/** With `ensure_weight_tying`, PEFT changes a tied head like the embedding; without it, the embedding alone. */
import { quote } from '../../../core/suggest.js'
import type { PlanContext } from '../../types.js'
import type { MergeStep } from '../types.js'
import { contributing } from './norms.js'
import type { Weighing } from './weighing.js'

/** Whether heads follow the embeddings of the result. Undefined without embeddings. Error: `adapter-arithmetic`. */
export function tiesHeads(
  { at }: MergeStep,
  { recipe, faults, adapters }: PlanContext,
  weighings: readonly Weighing[],
): boolean | undefined | 'mixed' {
  const own = weighings
    .filter(({ weight }) => weight.embedding)
    .flatMap((of) => contributing(of).filter((name) => of.weight.changes.has(name)))
  const tying = own.find((name) => adapters.get(name)!.config?.ensure_weight_tying === true)
  const plain = own.find((name) => adapters.get(name)!.config?.ensure_weight_tying !== true)
  if (tying === undefined || plain === undefined) return own.length === 0 ? undefined : tying !== undefined
  faults.error(
    'adapter-arithmetic',
    `${quote(tying)} changes a tied head with its embedding (ensure_weight_tying), and ${quote(plain)} changes the embedding alone`,
    recipe.placeOf(at, 'key'),
    'apply each adapter to the base ({path: BASE, lora: ADAPTER}), and merge the models',
  )
  return 'mixed'
}
