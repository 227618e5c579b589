/** Formulas that are weighted sums of the models, or of what they change, have kernels of their own. */
import type { Graph } from './graph.js'

export interface WeightedSum {
  readonly kernel: 'linear' | 'task'
  readonly coefficients: readonly number[]
}

/**
 * Σ c_i x_i or base + Σ c_i δ_i with numbers c_i, added in the order of models: what `linear` and `task` compute, bit for bit. An
 * infinity that all models share is one of theirs only where the c_i have no different signs.
 */
export function asWeightedSum({ values, root }: Graph, models: number): WeightedSum | undefined {
  const coefficients = Array.from({ length: models }, () => 0)
  let kind: 'input' | 'delta' | undefined
  let last = models
  /** A term of the sum, from the last to the first. False if it is something else. */
  const take = (id: number): boolean => {
    const value = values[id]!
    const product = value.kind === 'apply' && value.operation === 'multiply' ? value.args : undefined
    const numbers = product?.map((arg) => values[arg]!)
    const factor = product ? numbers!.find((one) => one.kind === 'constant') : undefined
    const of = product ? numbers!.find((one) => one.kind !== 'constant') : value
    if ((product && factor?.kind !== 'constant') || (of?.kind !== 'input' && of?.kind !== 'delta')) return false
    if (of.index >= last || (kind !== undefined && of.kind !== kind)) return false
    kind = of.kind
    last = of.index
    coefficients[of.index] = factor?.kind === 'constant' ? factor.value : 1
    return true
  }
  const terms = (from: number): boolean => {
    for (let id = from; ; ) {
      const value = values[id]!
      if (value.kind !== 'apply' || value.operation !== 'add') return take(id)
      const [rest, term] = value.args as readonly [number, number]
      if (!take(term)) return false
      id = rest
    }
  }
  const value = values[root]!
  const onBase = value.kind === 'apply' && value.operation === 'add' && values[value.args[0]!]!.kind === 'base'
  if (!terms(onBase ? value.args[1]! : root)) return undefined
  if (onBase) return kind === 'delta' ? { kernel: 'task', coefficients } : undefined
  return kind === 'input' && coefficients.every((one) => one >= 0) ? { kernel: 'linear', coefficients } : undefined
}
