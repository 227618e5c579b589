import { sortedKeys } from './serialize.js'
import type { Lineage, LineageMerge } from './types.js'

type Pair = readonly [model: number, weight: number | null]

/** By tensor: the method's name, and pairs of a model's index and its weight. */
export type TergeReport = Readonly<Record<string, readonly [method: string, sources: readonly Pair[]]>>

/** The library's only method, and what terge calls it. */
const nameOf = (method: string): string => (method === 'linear' ? 'arithmetic' : method)

/** Steps that make a model of one: what they give to a tensor is the first source's share, and no adapter is a model. */
const OF_ONE: ReadonlySet<string> = new Set(['copy', 'rebasin', 'lora'])

/**
 * Adds up what each model gave to a tensor. Through fused steps weights multiply, so that an average of averages shows
 * each model's own share; a method without weights on the way leaves null.
 */
function gather(
  merge: LineageMerge,
  factor: number | null,
  indexOf: (model: string) => number | undefined,
  shares: Map<number, number | null>,
): void {
  const one = OF_ONE.has(merge.method)
  for (const { model, weight, of } of one ? merge.sources.slice(0, 1) : merge.sources) {
    const own = one ? 1 : weight
    const share = factor === null || own === null ? null : factor * own
    const index = indexOf(model)
    // A model is itself, whatever an adapter made of it.
    if (of && index === undefined) gather(of, share, indexOf, shares)
    else if (index !== undefined) {
      const before = shares.has(index) ? shares.get(index)! : 0
      shares.set(index, before === null || share === null ? null : before + share)
    }
  }
}

/**
 * The lineage in the form of the Python library terge: `{"weight": ["arithmetic", [[0, 0.25], [1, 0.75]]], …}`, models
 * numbered in the order of the recipe. As there, tensors that were copied have no entry. The base of task vectors is
 * not among the pairs: it has no weight.
 */
export function tergeReport(lineage: Lineage): TergeReport {
  const indexOf = (model: string) => (Object.hasOwn(lineage.models, model) ? lineage.models[model]!.index : undefined)
  const report: Record<string, TergeReport[string]> = Object.create(null)
  for (const name of sortedKeys(lineage.tensors)) {
    const tensor = lineage.tensors[name]!
    if (tensor.method === 'copy') continue
    const shares = new Map<number, number | null>()
    gather(tensor, 1, indexOf, shares)
    report[name] = [nameOf(tensor.method), [...shares].sort(([a], [b]) => a - b)]
  }
  return report
}

/** The report as JSON, a tensor a line, with the spaces that Python's own writer puts. */
export function tergeReportText(lineage: Lineage): string {
  const lines = Object.entries(tergeReport(lineage)).map(([name, [method, pairs]]) => {
    const list = pairs.map(([model, weight]) => `[${model}, ${weight}]`).join(', ')
    return `  ${JSON.stringify(name)}: [${JSON.stringify(method)}, [${list}]]`
  })
  return lines.length === 0 ? '{}\n' : `{\n${lines.join(',\n')}\n}\n`
}
