import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import type { Reporter } from '../types.js'

/** The way out for adapters that can't be merged with each other. */
export const REFUSED_HINT = 'apply each adapter to its base ({path: BASE, lora: ADAPTER}), and merge the models'

/** Whether a file has tensors of kinds that terge does not compute. Error: `adapter-arithmetic`. */
export function refuseKinds(refused: readonly string[], reporter: Reporter): boolean {
  if (refused.length > 0)
    reporter.error(
      'adapter-arithmetic',
      `the adapter has ${plural(refused.length, 'tensor')} of a kind that terge does not support, such as ${quote(refused[0]!)}`,
      'merge the adapter into its base with LyCORIS, and use the result',
    )
  return refused.length > 0
}
