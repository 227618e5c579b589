import type { Json } from '../../../core/json/shape.js'
import { COPY_REASONS } from '../../../core/reasons.js'
import { sortedKeys } from '../../serialize.js'
import type { Digest, Lineage, LineageMerge, LineageSource, LineageTensor } from '../../types.js'

interface PageSource {
  readonly model: string
  /** Null where it is called as the output's tensor is. */
  readonly tensor: string | null
  readonly weight: number | null
  readonly of?: PageMerge
}

interface PageMerge {
  readonly method: string
  readonly parameters: Readonly<Record<string, Json>>
  readonly sources: readonly PageSource[]
  readonly base?: PageSource
  readonly cropped?: LineageMerge['cropped']
  /** What steps made on the way, where it is listed. */
  readonly parts?: readonly (PageMerge & { readonly model: string; readonly tensor: string | null })[]
}

type Row = readonly [
  name: string,
  how: number,
  dtype: number,
  shape: readonly number[],
  digest: Digest | null,
  reason: number,
  absent: LineageTensor['absent'] | 0,
]

/** What the page's program reads: `hows`, `dtypes` and `reasons` once each, and rows that point into them. */
export interface PageData {
  /** Participant → number of its colour. */
  readonly colours: Readonly<Record<string, number>>
  /** Method → number of its colour; that of `copy` is the one after the last. */
  readonly methods: Readonly<Record<string, number>>
  readonly hows: readonly PageMerge[]
  readonly dtypes: readonly string[]
  readonly reasons: readonly string[]
  readonly rows: readonly Row[]
}

/** Values in the order of their first coming, each once. */
function pool<T>(): { readonly list: T[]; readonly index: (value: T) => number } {
  const list: T[] = []
  const places = new Map<string, number>()
  return {
    list,
    index(value) {
      const key = JSON.stringify(value)
      const place = places.get(key) ?? list.push(value) - 1
      places.set(key, place)
      return place
    },
  }
}

function pageSource({ model, tensor, weight, of }: LineageSource, name: string): PageSource {
  return { model, tensor: tensor === name ? null : tensor, weight, ...(of ? { of: pageMerge(of, name) } : {}) }
}

const pageMerge = ({ method, parameters, sources, base, cropped }: LineageMerge, name: string): PageMerge => ({
  method,
  parameters,
  sources: sources.map((source) => pageSource(source, name)),
  ...(base ? { base: pageSource(base, name) } : {}),
  ...(cropped ? { cropped } : {}),
})

/** Colours go round after `count`: models in the order of the recipe, then steps by name; methods by name. */
export function pageData(lineage: Lineage, count: number): PageData {
  const models = Object.entries(lineage.models).sort(([, a], [, b]) => a.index - b.index)
  const participants = [...models.map(([name]) => name), ...sortedKeys(lineage.steps)]
  const methods = [...new Set(Object.values(lineage.tensors).map(({ method }) => method))].sort()
  const numbered = (names: readonly string[]): Record<string, number> =>
    Object.assign(Object.create(null), Object.fromEntries(names.map((name, index) => [name, index % count])))
  const hows = pool<PageMerge>()
  const dtypes = pool<string>()
  const reasons = pool<string>()
  const rows = sortedKeys(lineage.tensors).map((name): Row => {
    const tensor = lineage.tensors[name]!
    const { dtype, shape, digest, reason, absent } = tensor
    const parts = tensor.parts?.map((part) => ({
      model: part.model,
      tensor: part.tensor === name ? null : part.tensor,
      ...pageMerge(part, name),
    }))
    const how = hows.index({ ...pageMerge(tensor, name), ...(parts ? { parts } : {}) })
    return [
      name,
      how,
      dtypes.index(dtype),
      shape,
      digest,
      reason === undefined ? -1 : reasons.index(COPY_REASONS[reason]),
      absent ?? 0,
    ]
  })
  return {
    colours: numbered(participants),
    // Grey, past the last of the colours: nothing was merged.
    methods: Object.assign(numbered(methods), methods.includes('copy') ? { copy: count } : {}),
    hows: hows.list,
    dtypes: dtypes.list,
    reasons: reasons.list,
    rows,
  }
}
