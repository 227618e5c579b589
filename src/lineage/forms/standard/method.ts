/** The methods of a lineage with their parameters and weights, over all tensors. */
import { sortedKeys } from '../../serialize.js'
import type { Lineage, LineageMerge } from '../../types.js'

/** What one method did. */
export interface MethodSummary {
  readonly method: string
  /** Tensors of the output that it made as the last step. */
  readonly tensors: number
  /** Values by parameter, as JSON, each once, in the order of tensors. */
  readonly parameters: ReadonlyMap<string, ReadonlySet<string>>
  /** Weights by model or step, each once. */
  readonly weights: ReadonlyMap<string, ReadonlySet<string>>
}

interface Gathered {
  tensors: number
  readonly parameters: Map<string, Set<string>>
  readonly weights: Map<string, Set<string>>
}

const note = (to: Map<string, Set<string>>, key: string, value: string): void => {
  const values = to.get(key)
  if (values) values.add(value)
  else to.set(key, new Set([value]))
}

/** The methods on the way to the tensors, by name. Copies of whole tensors come last. */
export function methodsOf({ tensors }: Pick<Lineage, 'tensors'>): MethodSummary[] {
  const found = new Map<string, Gathered>()
  const seen = new Set<LineageMerge>()
  const gathered = (method: string): Gathered => {
    const one = found.get(method) ?? { tensors: 0, parameters: new Map(), weights: new Map() }
    found.set(method, one)
    return one
  }
  const visit = (merge: LineageMerge): void => {
    if (seen.has(merge)) return
    seen.add(merge)
    const { parameters, weights } = gathered(merge.method)
    for (const key of sortedKeys(merge.parameters)) note(parameters, key, JSON.stringify(merge.parameters[key]))
    for (const { model, weight, of } of merge.sources) {
      if (weight !== null) note(weights, model, JSON.stringify(weight))
      if (of) visit(of)
    }
    if (merge.base?.of) visit(merge.base.of)
  }
  for (const name of sortedKeys(tensors)) {
    const tensor = tensors[name]!
    gathered(tensor.method).tensors++
    visit(tensor)
    for (const part of tensor.parts ?? []) visit(part)
  }
  const last = (method: string): number => (method === 'copy' ? 1 : 0)
  return [...found]
    .map(([method, one]) => ({ method, ...one }))
    .sort((a, b) => last(a.method) - last(b.method) || (a.method < b.method ? -1 : 1))
}

/** Values that are listed one by one. */
const LISTED = 16

/** Values as texts: one by one, or how many there are and the range of numbers. */
export function valueTexts(values: ReadonlySet<string>): string[] {
  if (values.size <= LISTED) return [...values]
  const numbers = [...values].map(Number)
  if (numbers.some((number) => !Number.isFinite(number))) return [`${values.size} values`]
  const [least, most] = [numbers.reduce((a, b) => Math.min(a, b)), numbers.reduce((a, b) => Math.max(a, b))]
  return [`${values.size} values from ${least} to ${most}`]
}
