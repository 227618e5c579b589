/** What each method makes of its sources: their coefficients, if it is linear. */
import { addTo } from '../../core/collections/lists.js'
import { ownValue } from '../../core/collections/ownValue.js'
import { QUANTIZERS } from '../../methods/quantize.js'
import { EMBEDDING, HEAD } from '../../networks/tied.js'
import { scaleName } from '../../plan/outputs/quantize.js'
import type { Lineage, LineageMerge, LineageSource } from '../types.js'

/** A source of a step with its coefficient. */
export interface Share {
  readonly source: LineageSource
  readonly role: 'source' | 'base' | 'adapter'
  readonly factor: number | null
  /** Names of the factors of an adapter, if there are several. */
  readonly tensors?: readonly string[]
  /** Of these factors. */
  readonly scale?: number
  /** The elements of the source are in another order, which this step has found. */
  readonly permuted?: true
}

export interface Shares {
  readonly shares: readonly Share[]
  readonly why?: string
  /** The coefficients are those of the first rows only. */
  readonly rows?: number
  /** The coefficients are those of the change by an adapter that the tensor is a factor of. */
  readonly ofChange?: true
}

const number = (value: unknown, otherwise: number): number => (typeof value === 'number' ? value : otherwise)
const asSource = (source: LineageSource, factor: number | null): Share => ({ source, role: 'source', factor })

/** The coefficients of linear methods. Their formulas are those of the methods, over what lineages record. */
const LINEAR: Readonly<Record<string, (merge: LineageMerge) => Shares>> = {
  copy: ({ sources }) => ({ shares: sources.slice(0, 1).map((source) => asSource(source, 1)) }),
  linear: ({ sources }) => ({ shares: sources.map((source) => asSource(source, source.weight)) }),
  passthrough: ({ sources, parameters: { scale } }) => ({
    shares: sources.slice(0, 1).map((source) => asSource(source, number(Array.isArray(scale) ? scale[0] : scale, 1))),
  }),
  // b + λ Σ w_i (x_i − b)
  task_arithmetic({ sources, base, parameters: { lambda, lines } }) {
    const scale = number(lambda, 1) * number(lines, 1)
    const shares = sources.map((source) => asSource(source, source.weight === null ? null : scale * source.weight))
    const sum = shares.reduce<number | null>(
      (all, { factor }) => (all === null || factor === null ? null : all + factor),
      0,
    )
    return {
      shares: [
        ...shares,
        ...(base ? [{ source: base, role: 'base' as const, factor: sum === null ? null : 1 - sum }] : []),
      ],
    }
  },
  // W + s·B·A: the factors of the adapter make one change, whose scale is part of the adapter.
  lora({ sources, parameters: { scale } }) {
    const adapter = sources.at(-1)
    const [base] = sources
    if (!adapter || !base) return { shares: [] }
    const factors = sources.filter(({ model }) => model === adapter.model)
    const change: Share = {
      ...{ source: adapter, role: 'adapter', factor: 1, tensors: factors.map(({ tensor }) => tensor) },
      ...(typeof scale === 'number' ? { scale } : {}),
    }
    return { shares: [...(base.model === adapter.model ? [] : [asSource(base, 1)]), change] }
  },
  rebasin: ({ sources }) => ({
    shares: sources.slice(0, 1).map((source) => ({ ...asSource(source, 1), permuted: true })),
  }),
  'adapter-sum': ({ sources: [weight, change], parameters: { kept, scale } }) => ({
    shares: [
      ...(weight ? [asSource(weight, number(kept, 1))] : []),
      ...(change ? [{ source: change, role: 'adapter' as const, factor: number(scale, 1) }] : []),
    ],
  }),
}

/** The share of the squared change that is kept without a cut, apart from rounding. */
const EVERYTHING = 1 - 1e-10

/** Merged changes of adapters: one share per adapter, of the change that its factors make. */
function changes(merge: LineageMerge, owner: string, { steps }: Lineage): Shares {
  const record = ownValue(steps, owner)
  const energy = record?.kind === 'merge' ? record.adapters?.energy.least : undefined
  const factors = new Map<string, LineageSource[]>()
  for (const source of merge.sources) addTo(factors, source.model, source)
  const { shares } = LINEAR[merge.method]!({ ...merge, sources: [...factors.values()].map(([first]) => first!) })
  const known = energy !== undefined && energy >= EVERYTHING
  const why = known
    ? undefined
    : energy === undefined
      ? 'the lineage does not say whether all of the merged change was kept'
      : `the merged change was cut to a smaller rank, and keeps ${(100 * energy).toPrecision(4)} % in the worst module`
  return {
    shares: shares.map((share): Share => {
      const tensors = factors.get(share.source.model)!.map(({ tensor }) => tensor)
      return { ...share, role: 'adapter', tensors, factor: known ? share.factor : null }
    }),
    ofChange: true,
    ...(why === undefined ? {} : { why }),
  }
}

/** The sources of a step, with coefficients if it is linear. `owner`: the name of the step. */
export function sharesOf(merge: LineageMerge, tensor: string, owner: string, lineage: Lineage): Shares {
  const all = (why: string): Shares => ({
    shares: [
      ...merge.sources.map((source) => asSource(source, null)),
      ...(merge.base ? [{ source: merge.base, role: 'base' as const, factor: null }] : []),
    ],
    why,
  })
  if (isScale(tensor, lineage)) return all('these are the scales of a quantized weight')
  const known = ownValue(LINEAR, merge.method)
  if (merge.method === 'concat') return all('its sources are parts of it, one after the other')
  if (!known) return all(`${merge.method} is not linear`)
  if (merge.method === 'rebasin' && turns(lineage, owner)) return all('it rotates the model')
  const isVocabulary = Object.values(lineage.steps).some(({ kind }) => kind === 'tokenizer')
  if (isVocabulary && (EMBEDDING.test(tensor) || HEAD.test(tensor))) return all('its rows follow a merged vocabulary')
  // The changes that adapters make were merged, not their factors: those are not the sum of the factors of the inputs.
  const found = merge.parameters.factor === undefined ? known(merge) : changes(merge, owner, lineage)
  const lacks = found.why === undefined && found.shares.some(({ factor }) => factor === null)
  return {
    ...found,
    ...(merge.cropped ? { rows: merge.cropped.rows } : {}),
    ...(lacks ? { why: `${merge.method} has no recorded weight` } : {}),
  }
}

/** Whether a tensor has the scales of a weight that was quantized. */
const isScale = (tensor: string, { tensors }: Lineage): boolean =>
  QUANTIZERS.some((quantizer) => {
    const end = scaleName(quantizer, '.weight')
    const weight = tensor.endsWith(end) ? `${tensor.slice(0, -end.length)}.weight` : undefined
    return weight !== undefined && ownValue(tensors, weight)?.quantized === quantizer
  })

/** Whether an alignment changes numbers. Permutations only move them. */
function turns({ steps }: Lineage, owner: string): boolean {
  const record = ownValue(steps, owner)
  return record?.kind !== 'rebasin' || record.symmetry !== 'permutation'
}
