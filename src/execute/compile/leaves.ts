/** Leaves of a program: stored tensors, values that are computed before the program runs, and updates by adapters. */
import { elements } from '../../core/dtypes.js'
import { bytesOf } from '../../encodings/index.js'
import type { ComputedExpr, FactorExpr, LoraExpr, LoraFactor, ReadExpr } from '../../expr/types.js'
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

/** A stored tensor with an adapter's update. */
export function addLora(draft: Draft, of: LoraExpr): Added {
  const { node, below } = addStored(draft, of.base)
  const factors = draft.factorsOf.get(of) ?? loraFactors(draft, of)
  draft.factorsOf.set(of, factors)
  const base = (draft.nodes[node] as Node & { kind: 'read' }).leaf
  return { node: draft.nodes.push({ kind: 'lora', base, rank: of.rank, scale: of.scale, ...factors }) - 1, below }
}

/** The factors of an update, permuted like the tensor. */
function loraFactors(
  draft: Draft,
  { base, shape, left, right }: LoraExpr,
): Pick<LoraNode, 'columns' | 'left' | 'right'> {
  const factor = ({ read, byRank }: LoraFactor, count: number, map: Int32Array | null | undefined): Factor => {
    const source = lower(read.view, loweringOf(draft, false))
    // Only the leaf's slot is used: its content does not have this shape.
    const { file, offset, bytes } = mainStored(read.view)
    const reader = { kind: 'contiguous', file, offset, bytes } as const
    const leaf = draft.leaves.push({ reader, dtype: 'raw', elementBytes: 1, digestIn: -1 }) - 1
    return { source, leaf, byRank, count, ...(map ? { map } : {}) }
  }
  const maps = mapsOf(draft, findingsOf(base.view).findings, shape)
  const [rows, rest] = left ? [shape[0]!, 1] : [1, 0]
  const columns = elements(shape.slice(rest))
  const moved = maps?.flatMap((map, axis) => (map && axis >= rest ? [{ axis, map }] : [])) ?? []
  return {
    columns,
    ...(left ? { left: factor(left, rows, maps?.[0]) } : {}),
    right: factor(right, columns, moved.length > 0 ? rowPlaces(shape.slice(rest), moved, rest) : undefined),
  }
}
