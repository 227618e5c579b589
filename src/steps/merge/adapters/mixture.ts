/** How one tensor of adapters is merged. */
import type { Method, OnAdapters, Resolved } from '../../../methods/types.js'

/** The settings of the merge or of a rule, at the tensor's layer. */
export interface Mixture {
  readonly method: Method
  readonly how: Exclude<OnAdapters, { readonly kind: 'refused' }>
  /** What changes are compared with. `zero`: no change. `none`: the method uses no base. */
  readonly base:
    | { readonly kind: 'none' | 'zero' }
    | { readonly kind: 'adapter'; readonly name: string; readonly apart: boolean }
  readonly models: readonly string[]
  readonly weights: readonly number[]
  readonly parameters: Readonly<Record<string, Resolved>>
  readonly rule: number
}

/** Coefficients of adapters in a sum. A base has what is left of 1. */
export function coefficientsOf({ how, base, models, weights, parameters }: Mixture): ReadonlyMap<string, number> {
  if (how.kind !== 'sum') throw new Error('internal: coefficients of a method that does not add up changes')
  const own = how.coefficients({ weights, parameters })
  const factors = new Map(models.map((model, i) => [model, own[i]!]))
  if (base.kind === 'adapter') factors.set(base.name, 1 - own.reduce((sum, factor) => sum + factor, 0))
  return factors
}

/** All adapters that the result depends on. */
export const adaptersOf = ({ models, base }: Mixture): readonly string[] => [
  ...new Set([...models, ...(base.kind === 'adapter' ? [base.name] : [])]),
]
