/** Shared declarations of methods on task vectors. */
import type { Method, ParameterSchema } from '../types.js'

/** One model besides the base is enough. Weights may sum to 0; each method defines what that means. */
export const ON_TASK_VECTORS = {
  aliases: [],
  base: 'required',
  weights: true,
  divides: () => false,
  models: { least: 1, needed: 1 },
} as const satisfies Partial<Method>

export const LAMBDA: ParameterSchema = {
  name: 'lambda',
  type: 'number',
  default: 1,
  describe: 'Scale of the merged task vector.',
}
