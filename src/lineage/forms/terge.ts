import { naturalOrder } from '../../core/collections/naturalOrder.js'
import { EMBEDDING, HEAD } from '../../networks/tied.js'
import { KINDS } from '../../steps/index.js'
import { sortedKeys } from '../serialize.js'
import type { Lineage, LineageMerge, LineageSource } from '../types.js'

type Pair = readonly [model: number, weight: number | null]

/** By tensor: the method's name, and pairs of model index and weight. */
export type TergeReport = Readonly<Record<string, readonly [method: string, sources: readonly Pair[]]>>

/** The Python library's name of a method. */
const nameOf = (method: string): string => (method === 'linear' ? 'arithmetic' : method)

/** Methods and steps with one input model, the first source: the result has that model's share. Adapters are not models. */
const OF_ONE: ReadonlySet<string> = new Set([
  'copy',
  'lora',
  ...KINDS.filter(({ keepsShares }) => keepsShares).map(({ kind }) => kind),
])

/** The merges that sources refer to by step and tensor. */
type Parts = ReadonlyMap<string, LineageMerge>

const partKey = (model: string, tensor: string): string => `${model}\0${tensor}`

/** How a source was made: nested in it, or listed under `parts`. Undefined if it was read from a file. */
const makingOf = ({ model, tensor, of }: LineageSource, parts: Parts): LineageMerge | undefined =>
  of ?? parts.get(partKey(model, tensor))

/** All merges that `whole` depends on, each once, `whole` last. */
function makings(whole: LineageMerge, parts: Parts): LineageMerge[] {
  const found = new Set<LineageMerge>()
  const visit = (merge: LineageMerge): void => {
    if (found.has(merge)) return
    for (const source of sourcesOf(merge)) {
      const of = makingOf(source, parts)
      if (of) visit(of)
    }
    found.add(merge)
  }
  visit(whole)
  return [...found]
}

const sourcesOf = ({ method, sources }: LineageMerge): readonly LineageSource[] =>
  OF_ONE.has(method) ? sources.slice(0, 1) : sources

/**
 * The share of each model in a tensor. Weights of fused steps multiply, so an average of averages shows each model's share.
 * A share is null if a method on the way has no weights.
 */
function sharesOf(whole: LineageMerge, parts: Parts, isModel: (name: string) => boolean): Map<string, number | null> {
  const shares = new Map<string, number | null>()
  const factors = new Map<LineageMerge, number | null>([[whole, 1]])
  const add = <K>(to: Map<K, number | null>, key: K, share: number | null): void => {
    const before = to.has(key) ? to.get(key)! : 0
    to.set(key, before === null || share === null ? null : before + share)
  }
  // Each merge comes after everything that uses it, so its factor is known.
  for (const merge of makings(whole, parts).reverse()) {
    const factor = factors.get(merge)
    if (factor === undefined) continue
    const one = OF_ONE.has(merge.method)
    for (const source of sourcesOf(merge)) {
      const own = one ? 1 : source.weight
      const share = factor === null || own === null ? null : factor * own
      const of = makingOf(source, parts)
      // A model with an adapter applied still counts as the model.
      if (isModel(source.model)) add(shares, source.model, share)
      else if (of) add(factors, of, share)
    }
  }
  return shares
}

/** Buffers of BatchNorm. The library merges only parameters. */
const BUFFER = /(^|\.)(running_mean|running_var|num_batches_tracked)$/

/** Second names of tied parameters. The library uses the first name. */
function tiedTwins(tensors: Lineage['tensors']): Set<string> {
  const names = sortedKeys(tensors)
  const embeddings = names.filter((name) => EMBEDDING.test(name))
  const shared = embeddings.find((name) => /(^|\.)shared\.weight$/.test(name))
  const same = (name: string, other: string): boolean =>
    name !== other && tensors[name]!.digest !== null && tensors[name]!.digest === tensors[other]!.digest
  return new Set([
    ...names.filter((name) => HEAD.test(name) && embeddings.some((embedding) => same(name, embedding))),
    ...embeddings.filter((name) => shared !== undefined && same(name, shared)),
  ])
}

/**
 * The lineage in the format of the Python library terge: `{"weight": ["arithmetic", [[0, 0.25], [1, 0.75]]], …}`. Merged models have
 * numbers in the recipe's order; a base that only provides copied tensors is not one of them. As in the library, copied tensors,
 * BatchNorm statistics and second names of tied parameters have no entry.
 */
export function tergeReport(lineage: Lineage): TergeReport {
  const isModel = (name: string): boolean => Object.hasOwn(lineage.models, name)
  const twins = tiedTwins(lineage.tensors)
  const merged = new Set<string>()
  const shares = new Map<string, Map<string, number | null>>()
  for (const name of Object.keys(lineage.tensors).sort(naturalOrder)) {
    const tensor = lineage.tensors[name]!
    for (const { model } of tensor.absent ?? []) if (isModel(model)) merged.add(model)
    if (tensor.method === 'copy') continue
    const parts = new Map((tensor.parts ?? []).map((part) => [partKey(part.model, part.tensor), part]))
    const own = sharesOf(tensor, parts, isModel)
    for (const model of own.keys()) merged.add(model)
    if (!BUFFER.test(name) && !twins.has(name)) shares.set(name, own)
  }
  const order = [...merged].sort((a, b) => lineage.models[a]!.index - lineage.models[b]!.index)
  const numbers = new Map(order.map((model, number) => [model, number]))
  const report: Record<string, TergeReport[string]> = Object.create(null)
  for (const [name, own] of shares) {
    const pairs = [...own].map(([model, share]): Pair => [numbers.get(model)!, share])
    report[name] = [nameOf(lineage.tensors[name]!.method), pairs.sort(([a], [b]) => a - b)]
  }
  return report
}

/** The report as JSON with one line per tensor, and the same spaces as Python's `json` module. */
export function tergeReportText(lineage: Lineage): string {
  const lines = Object.entries(tergeReport(lineage)).map(([name, [method, pairs]]) => {
    const list = pairs.map(([model, weight]) => `[${model}, ${weight}]`).join(', ')
    return `  ${JSON.stringify(name)}: [${JSON.stringify(method)}, [${list}]]`
  })
  return lines.length === 0 ? '{}\n' : `{\n${lines.join(',\n')}\n}\n`
}
