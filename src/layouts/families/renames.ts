import type { LayoutRule } from '../types.js'

/** By the name in a published checkpoint: that in transformers 5. */
export const renames = (names: Readonly<Record<string, string>>): LayoutRule[] =>
  Object.entries(names).map(([released, now]) => ({ tensor: now, is: released }))
