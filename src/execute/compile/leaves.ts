/** Leaves of a program: stored tensors, what is computed before the program begins, and updates by adapters. */
import { elements } from '../../core/dtypes.js'
import { bytesOf, isFloat } from '../../encodings/index.js'
import type { ComputedExpr, FactorExpr, LoraExpr, ReadExpr } from '../../expr/types.js'
import type { Leaf, Node } from '../program.js'
import { type Added, addLeaf, addRead, counted, type Draft } from './draft.js'
import { loraFactors } from './loraFactors.js'
import { rowsLeaf } from './rowsLeaf.js'
import { bytewise, composed, placeOf, rowMajor, storedElements } from './storedPlaces.js'

export function addStored(draft: Draft, of: ReadExpr): Added {
  const { raw, compute, findings } = draft
  const { rows, file, offset, bytes } = of
  const count = raw ? {} : counted(draft, storedElements(of))
  if (rows) {
    const index = addLeaf(draft, of, () => ({ ...rowsLeaf(of, rows, raw, compute), ...count }))
    return addRead(draft, index, [])
  }
  if (!raw && !isFloat(of.dtype)) throw new Error(`internal: ${of.tensor} has dtype ${of.dtype} in a merge`)
  const float = !raw && isFloat(of.dtype) ? of.dtype : undefined
  const stored = { dtype: float ?? ('raw' as const), elementBytes: float ? bytesOf(float) : 1 }
  const index = addLeaf(draft, of, () => {
    const place = placeOf(of, findings)
    const places = float ? place : bytewise(place, bytesOf(of.dtype))
    return { file, offset, bytes, ...stored, ...count, ...places, digestIn: -1 }
  })
  return addRead(draft, index, [index])
}

/** A tensor that a step computes as a whole. */
export function addComputed(draft: Draft, of: ComputedExpr): Added {
  const { shape, aligned = [] } = of
  const known = draft.leafOf.get(of)
  const index = addLeaf(draft, of, () => {
    const maps = composed(aligned, shape, draft.findings)
    const gather = maps && { gather: { shape, strides: rowMajor(shape), maps } }
    return { ...madeLeaf(draft, shape, 'F32'), ...gather }
  })
  if (known === undefined) draft.computed.push({ leaf: index, from: of })
  return addRead(draft, index, [])
}

/** One of a factoring's two factors. */
export function addFactor(draft: Draft, of: FactorExpr): Added {
  const known = draft.leafOf.get(of)
  const index = addLeaf(draft, of, () => madeLeaf(draft, of.shape))
  if (known === undefined) draft.computed.push({ leaf: index, from: of })
  return addRead(draft, index, [])
}

/** A leaf of values that are in no file: in the compute type, if no dtype is given. */
export function madeLeaf(draft: Draft, shape: readonly number[], dtype: 'F32' | 'F64' = directOf(draft)): Leaf {
  const count = elements(shape)
  const elementBytes = bytesOf(dtype)
  const place = { file: -1, offset: 0, bytes: elementBytes * count, digestIn: -1 }
  return { ...place, ...counted(draft, count), dtype, elementBytes }
}

const directOf = ({ compute }: Draft): 'F32' | 'F64' => (compute === 'f32' ? 'F32' : 'F64')

/** A stored tensor with an adapter's update. */
export function addLora(draft: Draft, of: LoraExpr): Added {
  const { leaves, nodes, findings } = draft
  const { node, below } = addStored(draft, of.base)
  const { aligned } = of.base
  const factors =
    draft.factorsOf.get(of) ??
    loraFactors(
      of,
      aligned && composed(aligned.by, aligned.shape, findings),
      (file, offset, bytes) =>
        // Only its slot is used: what it shows is no tensor of this shape.
        leaves.push({ file, offset, bytes, dtype: 'raw', elementBytes: 1, digestIn: -1 }) - 1,
    )
  draft.factorsOf.set(of, factors)
  const base = (nodes[node] as Node & { kind: 'read' }).leaf
  return { node: nodes.push({ kind: 'lora', base, rank: of.rank, scale: of.scale, ...factors }) - 1, below }
}
