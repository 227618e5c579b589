import { indexOf } from '../names.js'
import type { Family, NamePattern } from '../types.js'

/** Whether a model has a tensor of one of these names: other networks share the rest of a family's names. */
export const hasOneOf =
  (...names: readonly NamePattern[]): NonNullable<Family['isOne']> =>
  ({ shapes }) =>
    names.some((name) => indexOf(shapes).find(name).length > 0)
