/** Leaves of a program: stored tensors, values that are computed before the program runs, and updates by adapters. */
import { elements } from '../../core/dtypes.js'
import { bytesOf } from '../../encodings/index.js'
import { columnsOf } from '../../expr/cost.js'
import type { ComputedExpr, ConstantExpr, FactorExpr, LoraExpr, LoraFactor, ReadExpr } from '../../expr/types.js'
import { placesOf as rowPlaces } from '../../rebasin/places.js'
import { type Lowering, lower } from '../../views/lower.js'
import { mapped, placesOf } from '../../views/places.js'
import { storedBytes } from '../../views/ranges.js'
import type { MemoryReader } from '../../views/readers.js'
import { shapeOf } from '../../views/shape.js'
import { findingsOf, isDecoded, isPlain, mainStored } from '../../views/stored.js'
import type { Finding } from '../../views/types.js'
import type { Factor, Leaf, LoraNode, Node } from '../program.js'
import { type Added, addLeaf, addRead, counted, type Draft } from './draft.js'

const loweringOf = ({ compute, findings }: Draft, raw: boolean): Lowering => ({
  raw,
  mixed: compute === 'f32' ? 'F32' : 'F64',
  maps: findings.maps,
})

export function addStored(draft: Draft, of: ReadExpr): Added {
  const { view } = of
  const count = draft.raw ? {} : counted(draft, elements(shapeOf(view)))
  const total = elements(shapeOf(view))
  const stored = isDecoded(view) && total > 0 ? { storedBytes: storedBytes(view) / total } : {}
  const index = addLeaf(draft, of, () => ({
    ...lower(view, loweringOf(draft, draft.raw)),
    ...count,
    ...stored,
    digestIn: -1,
  }))
  // Digests are of whole stored tensors.
  return addRead(draft, index, isPlain(view) ? [index] : [])
}

/** A tensor that a step computes as a whole. */
export function addComputed(draft: Draft, of: ComputedExpr): Added {
  const { shape, aligned = [] } = of
  const known = draft.leafOf.get(of)
  const index = addLeaf(draft, of, () => {
    const values: MemoryReader = { kind: 'memory' }
    const maps = mapsOf(draft, aligned, shape)
    const reader = maps ? ({ kind: 'picked', of: values, ...placesOf(shape), maps } as const) : values
    return { ...madeLeaf(draft, shape, 'F32'), reader }
  })
  if (known === undefined) draft.computed.push({ leaf: index, from: of })
  return addRead(draft, index, [])
}

/** A tensor of equal elements. */
export function addConstant(draft: Draft, of: ConstantExpr): Added {
  const index = addLeaf(draft, of, () => ({ ...madeLeaf(draft, of.shape, 'F32'), reader: { kind: 'memory' } }))
  draft.computed.push({ leaf: index, from: of })
  return addRead(draft, index, [])
}

/** One of a factoring's two factors. */
export function addFactor(draft: Draft, of: FactorExpr): Added {
  const known = draft.leafOf.get(of)
  const index = addLeaf(draft, of, () => ({ ...madeLeaf(draft, of.shape), reader: { kind: 'memory' } }))
  if (known === undefined) draft.computed.push({ leaf: index, from: of })
  return addRead(draft, index, [])
}

/** A leaf of values from memory, in the compute type unless `dtype` is given. */
export function madeLeaf(
  draft: Draft,
  shape: readonly number[],
  dtype: 'F32' | 'F64' = draft.compute === 'f32' ? 'F32' : 'F64',
): Omit<Leaf, 'reader'> {
  return { ...counted(draft, elements(shape)), dtype, elementBytes: bytesOf(dtype), digestIn: -1 }
}

/** By axis, the composed map of permutations; undefined if no axis is permuted. */
function mapsOf(
  { findings }: Draft,
  by: readonly Finding[],
  shape: readonly number[],
): readonly (Int32Array | null)[] | undefined {
  const { maps } = by.reduce((places, finding) => mapped(places, findings.maps(finding, shape)), placesOf(shape))
  return maps.some((map) => map) ? maps : undefined
}

/** A stored tensor with an adapter's update, or the update alone. */
export function addLora(draft: Draft, of: LoraExpr): Added {
  const stored = of.base && addStored(draft, of.base)
  const factors = draft.factorsOf.get(of) ?? loraFactors(draft, of)
  draft.factorsOf.set(of, factors)
  const base = stored ? (draft.nodes[stored.node] as Node & { kind: 'read' }).leaf : -1
  const { rank, scale, shape } = of
  const node = draft.nodes.push({ kind: 'lora', base, rank, scale, ...counted(draft, elements(shape)), ...factors }) - 1
  return { node, below: stored?.below ?? [] }
}

/** The factors of an update, permuted like the tensor. */
function loraFactors(draft: Draft, of: LoraExpr): Pick<LoraNode, 'columns' | 'height' | 'left' | 'right'> {
  const { base, aligned = [], shape, left, right, matrices } = of
  const lines = ({ view }: ReadExpr): Pick<Factor, 'source' | 'leaf'> => {
    // Only the leaf's slot is used: its content does not have this shape.
    const { file, offset, bytes } = mainStored(view)
    const reader = { kind: 'contiguous', file, offset, bytes } as const
    const leaf = draft.leaves.push({ reader, dtype: 'raw', elementBytes: 1, digestIn: -1 }) - 1
    return { source: lower(view, loweringOf(draft, false)), leaf }
  }
  const factor = ({ read, byRank, times, core }: LoraFactor, count: number, map: Int32Array | undefined): Factor => ({
    ...{ ...lines(read), byRank, count },
    ...(map ? { map } : {}),
    ...(times ? { times: lines(times) } : {}),
    ...(core ? { core: { ...lines(core.read), ...coreSizes(of, core) } } : {}),
  })
  const maps = mapsOf(draft, base ? findingsOf(base.view).findings : aligned, shape)
  // The axes of rows, then those of columns.
  const rest = matrices === undefined ? (left ? 1 : 0) : 2
  const rows = elements(shape.slice(0, rest))
  const columns = columnsOf(of)
  const moved = maps?.flatMap((map, axis) => (map ? [{ axis, map }] : [])) ?? []
  const along = (from: number, to: number): Int32Array | undefined =>
    moved.some(({ axis }) => axis >= from && axis < to) ? rowPlaces(shape.slice(from, to), moved, from) : undefined
  const matrixMap = matrices === undefined ? undefined : along(0, 1)
  return {
    columns,
    ...(matrices === undefined ? {} : { height: rows / matrices }),
    ...(left ? { left: factor(left, rows, along(0, rest)) } : {}),
    right: { ...factor(right, columns, along(rest, shape.length)), ...(matrixMap ? { matrixMap } : {}) },
  }
}

/** The sizes of a core, [rank, inner, kernel]. */
function coreSizes({ rank }: LoraExpr, { read, inner }: NonNullable<LoraFactor['core']>) {
  const kernel = elements(shapeOf(read.view)) / (rank * inner)
  return { rank, inner, kernel }
}
