import { distinct } from '../../../core/collections/distinct.js'
import { naturalOrder } from '../../../core/collections/naturalOrder.js'
import type { Json } from '../../../core/json/shape.js'
import { COPY_REASONS } from '../../../core/reasons.js'
import { sortedKeys } from '../../serialize.js'
import type { Digest, Lineage, LineageMerge, LineageSource, LineageTensor } from '../../types.js'

interface PageSource {
  readonly model: string
  /** Null if it has the same name as the output's tensor. */
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
  /** Tensors that steps made on the way, if the lineage lists them. */
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

/** The data of the page's script. Rows refer to `hows`, `dtypes` and `reasons` by index. */
export interface PageData {
  /** Colour number by model or step. */
  readonly colours: Readonly<Record<string, number>>
  /** Colour number by method. `copy` has the number after the last colour. */
  readonly methods: Readonly<Record<string, number>>
  readonly hows: readonly PageMerge[]
  readonly dtypes: readonly string[]
  readonly reasons: readonly string[]
  readonly rows: readonly Row[]
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

/** The data of the page. Colours repeat after `count`: models in the recipe's order, then steps by name; methods by name. */
export function pageData(lineage: Lineage, count: number): PageData {
  const models = Object.entries(lineage.models).sort(([, a], [, b]) => a.index - b.index)
  const sources = [...models.map(([name]) => name), ...sortedKeys(lineage.steps)]
  const methods = [...new Set(Object.values(lineage.tensors).map(({ method }) => method))].sort()
  const numbered = (names: readonly string[]): Record<string, number> =>
    Object.assign(Object.create(null), Object.fromEntries(names.map((name, index) => [name, index % count])))
  const hows = distinct<PageMerge>(JSON.stringify)
  const dtypes = distinct<string>((dtype) => dtype)
  const reasons = distinct<string>((reason) => reason)
  const rows = Object.keys(lineage.tensors)
    .sort(naturalOrder)
    .map((name): Row => {
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
    colours: numbered(sources),
    // Copied tensors are grey, the colour after the last.
    methods: Object.assign(numbered(methods), methods.includes('copy') ? { copy: count } : {}),
    hows: hows.list,
    dtypes: dtypes.list,
    reasons: reasons.list,
    rows,
  }
}
