/** Matrix products. */
import type { Axis } from '../../axes/axis.js'
import { isOne, plain } from '../../axes/axis.js'
import { broadcast, contract, isAligned, join } from '../../axes/join.js'
import { integer, label, type Operator, stay, unknown } from '../value.js'

const gemm: Operator = (walk, node) => {
  const [first, b, c] = [0, 1, 2].map((i) => walk.value(node.inputs[i]))
  // It takes matrices only. The axes of a value of unknown shape keep their order.
  const a = first ?? [{}, {}]
  if (a.length !== 2 || b?.length !== 2) return unknown(walk, node, 'has an unsupported form')
  const [rows, left] = integer(node, 'transA', 0) ? [a[1]!, a[0]!] : [a[0]!, a[1]!]
  const [right, columns] = integer(node, 'transB', 0) ? [b[1]!, b[0]!] : [b[0]!, b[1]!]
  contract(walk, left, right, label(node))
  const out = [rows, columns]
  if (node.inputs[2] !== undefined && node.inputs[2] !== '') broadcast(walk, [out, c], label(node))
  for (const axis of walk.folded(node)) join(walk, axis, columns, label(node))
  walk.give(node.outputs[0], out)
}

/** A value with one axis is a row on the left and a column on the right. */
const matmul: Operator = (walk, node) => {
  const [a, b] = [walk.value(node.inputs[0]), walk.value(node.inputs[1])]
  if (!a || !b || a.length < 1 || b.length < 1) return unknown(walk, node, 'has an unsupported form')
  const [left, right] = [a.length === 1 ? [plain(1), ...a] : a, b.length === 1 ? [...b, plain(1)] : b]
  const where = label(node)
  const [leftBatch, rightBatch] = [left.slice(0, -2), right.slice(0, -2)]
  const inner: [Axis, Axis] = [left.at(-1)!, right.at(-2)!]
  if (!isAligned(inner, leftBatch, rightBatch)) stay(walk, inner, `${where}: its parts are in different orders`)
  contract(walk, ...inner, where)
  const batch = outersOf(broadcast(walk, [leftBatch, rightBatch], where)!, leftBatch, rightBatch)
  const rows = a.length === 1 ? [] : [left.at(-2)!]
  const columns = b.length === 1 ? [] : [right.at(-1)!]
  for (const axis of walk.folded(node)) if (columns[0]) join(walk, axis, columns[0], where)
  walk.give(node.outputs[0], [...batch.axes, ...rows.map(batch.change), ...columns.map(batch.change)])
}

/**
 * The batch axes of a product. Where outer axes of both sides meet, one of them is kept. Inner axes of the other then
 * belong to it.
 */
function outersOf(batch: readonly Axis[], left: readonly Axis[], right: readonly Axis[]) {
  const renamed = new Map<object, Axis>()
  for (const [i, axis] of batch.entries())
    for (const side of [left, right]) {
      const own = side[side.length - batch.length + i]
      if (own?.outer && own.outer !== axis.outer && !isOne(own) && axis.outer) renamed.set(own.outer, axis)
    }
  const change = (axis: Axis): Axis => {
    if (!axis.inner) return axis
    const outers = axis.inner.outers.map((outer) => renamed.get(outer)?.outer ?? outer)
    return { ...axis, inner: { ...axis.inner, outers } }
  }
  return { axes: batch, change }
}

export const PRODUCTS: readonly [string, Operator][] = [
  ['Gemm', gemm],
  ['MatMul', matmul],
]
