import { EMBEDDING, HEAD } from '../../../networks/tied.js'
import { KINDS } from '../../../steps/index.js'
import { sortedKeys } from '../../serialize.js'
import type { Lineage, LineageMerge, LineageSource } from '../../types.js'

type Pair = readonly [model: number, weight: number | null]

/** By tensor: the method's name, and pairs of a model's index and its weight. */
export type TergeReport = Readonly<Record<string, readonly [method: string, sources: readonly Pair[]]>>

/** The library's only method, and what terge calls it. */
const nameOf = (method: string): string => (method === 'linear' ? 'arithmetic' : method)

/** Steps that make a model of one: what they give to a tensor is the first source's share, and no adapter is a model. */
const OF_ONE: ReadonlySet<string> = new Set([
  'copy',
  'lora',
  ...KINDS.filter(({ keepsShares }) => keepsShares).map(({ kind }) => kind),
])

/** A making and, by step and tensor, the makings that its sources only name. */
type Parts = ReadonlyMap<string, LineageMerge>

const partKey = (model: string, tensor: string): string => `${model}\0${tensor}`

/** What a source is made of: nested in it, or a part that is listed; nothing where it is read from a file. */
const makingOf = ({ model, tensor, of }: LineageSource, parts: Parts): LineageMerge | undefined =>
  of ?? parts.get(partKey(model, tensor))

/** All makings below one, itself last, each once. */
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
 * Adds up what each model gave to a tensor. Through fused steps weights multiply, so that an average of averages shows
 * each model's own share; a method without weights on the way leaves null.
 */
function sharesOf(whole: LineageMerge, parts: Parts, isModel: (name: string) => boolean): Map<string, number | null> {
  const shares = new Map<string, number | null>()
  const factors = new Map<LineageMerge, number | null>([[whole, 1]])
  const add = <K>(to: Map<K, number | null>, key: K, share: number | null): void => {
    const before = to.has(key) ? to.get(key)! : 0
    to.set(key, before === null || share === null ? null : before + share)
  }
  // Whoever uses a making comes before it, so that its factor is known when its turn comes.
  for (const merge of makings(whole, parts).reverse()) {
    const factor = factors.get(merge)
    if (factor === undefined) continue
    const one = OF_ONE.has(merge.method)
    for (const source of sourcesOf(merge)) {
      const own = one ? 1 : source.weight
      const share = factor === null || own === null ? null : factor * own
      const of = makingOf(source, parts)
      // A model is itself, whatever an adapter made of it.
      if (isModel(source.model)) add(shares, source.model, share)
      else if (of) add(factors, of, share)
    }
  }
  return shares
}

/** The library merges parameters, and a module's buffers are none. */
const BUFFER = /(^|\.)(running_mean|running_var|num_batches_tracked)$/

/** Names under which a tied parameter is stored once more: the library knows it by its first name. */
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
 * The lineage in the form of the Python library terge: `{"weight": ["arithmetic", [[0, 0.25], [1, 0.75]]], …}`, the merged models
 * numbered in the order of the recipe, which a base that only lends its tensors is none of. As there, tensors that were copied,
 * BatchNorm's statistics and second names of a tied parameter have no entry.
 */
export function tergeReport(lineage: Lineage): TergeReport {
  const isModel = (name: string): boolean => Object.hasOwn(lineage.models, name)
  const twins = tiedTwins(lineage.tensors)
  const merged = new Set<string>()
  const shares = new Map<string, Map<string, number | null>>()
  for (const name of sortedKeys(lineage.tensors)) {
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

/** The report as JSON, a tensor a line, with the spaces that Python's own writer puts. */
export function tergeReportText(lineage: Lineage): string {
  const lines = Object.entries(tergeReport(lineage)).map(([name, [method, pairs]]) => {
    const list = pairs.map(([model, weight]) => `[${model}, ${weight}]`).join(', ')
    return `  ${JSON.stringify(name)}: [${JSON.stringify(method)}, [${list}]]`
  })
  return lines.length === 0 ? '{}\n' : `{\n${lines.join(',\n')}\n}\n`
}
