/** Changes of weights as they are known without the weights: products of factors that are made of an adapter's tensors. */
import { elements } from '../core/dtypes.js'
import type { Expr, LoraExpr, MergeExpr } from '../expr/types.js'
import type { ValueTensor } from '../expr/values.js'
import { shapeOf } from '../views/shape.js'
import { type View, ZEROS } from '../views/types.js'
import type { Delta, Product } from './types.js'
import { permute, read, reshape, spread } from './views.js'

/** x ⊙ y, as one tensor. */
export const multiplied = (x: Expr, y: Expr): MergeExpr => ({
  ...{ kind: 'merge', step: 'adapter', method: 'adapter-product', models: ['adapter', 'adapter'], weights: [1, 1] },
  ...{ parameters: { scale: 1 }, inputs: [x, y] },
})

/** A tensor that is made of an adapter's tensors. */
export const made = (shape: readonly number[], expr: Expr, from: readonly ValueTensor[]): ValueTensor => ({
  dtype: from.some(({ dtype }) => dtype === 'F64') ? 'F64' : 'F32',
  ...{ shape, expr },
})

/** The shape of B. The B of a convolution has a kernel of size 1. */
export const leftShape = (rows: number, rank: number, inputs: readonly number[]): readonly number[] => [
  ...[rows, rank],
  ...inputs.slice(1).map(() => 1),
]

/** ΔW, which has this shape. */
export function wholeOf(delta: Delta, shape: readonly number[]): Expr {
  const product = ({ kind: _, ...factors }: Product): LoraExpr => ({ kind: 'lora', shape, scale: 1, ...factors })
  if (delta.kind === 'read') return delta
  if (delta.kind === 'product') return product(delta)
  const [first, second] = delta.of.map((side) => (side.kind === 'product' ? product(side) : side))
  return multiplied(first!, second!)
}

/**
 * A side of a product: a matrix that is stored; an identity; or Σ core[r, s, k] · across[s, i] in row r, and for each i and, fastest, k in a
 * column.
 */
export type Side =
  | { readonly kind: 'view'; readonly view: View }
  | { readonly kind: 'identity'; readonly size: number }
  | { readonly kind: 'cored'; readonly core: View; readonly across: View }

/** The rows and columns of a side. */
export function sidesOf(side: Side): readonly [number, number] {
  if (side.kind === 'identity') return [side.size, side.size]
  if (side.kind === 'view') return [shapeOf(side.view)[0]!, elements(shapeOf(side.view).slice(1))]
  const [rank = 0, , ...kernel] = shapeOf(side.core)
  return [rank, shapeOf(side.across)[1]! * elements(kernel)]
}

/** Σ core[r, s, k] · across[s, i]: a matrix per row of the result, [inputs, kernel]. */
function coredExpr(core: View, across: View): LoraExpr {
  const [rank = 0, inner = 0, ...kernel] = shapeOf(core)
  const inputs = shapeOf(across)[1]!
  const size = elements(kernel)
  const left = reshape(spread(permute(across, [1, 0]), 0, rank), [rank * inputs, inner])
  return {
    ...{ kind: 'lora', shape: [rank, inputs, size], matrices: rank, rank: inner, scale: 1 },
    left: { read: read(left), byRank: false },
    right: { read: read(reshape(core, [rank, inner, size])), byRank: true },
  }
}

const matrixOf = (view: View): View => reshape(view, [shapeOf(view)[0]!, elements(shapeOf(view).slice(1))])

/** A side that is not an identity, as a tensor. */
export const sideExpr = (side: Exclude<Side, { readonly kind: 'identity' }>): Expr =>
  side.kind === 'view' ? read(side.view) : coredExpr(side.core, side.across)

/** Row (p, q) is x[p] ⊙ y[q]. Both have the same columns. Undefined for an identity. */
export function rowProducts(x: Side, y: Side): Expr | undefined {
  const [first, second] = [sidesOf(x)[0], sidesOf(y)[0]]
  const repeated = (side: Side, axis: 0 | 1, count: number): Expr | undefined => {
    const rows = sidesOf(side)[0]
    if (side.kind === 'identity') return undefined
    if (side.kind === 'view')
      return read(reshape(spread(matrixOf(side.view), axis, count), [rows * count, sidesOf(side)[1]]))
    const [, inner = 0, ...kernel] = shapeOf(side.core)
    const core = spread(reshape(side.core, [rows, inner, elements(kernel)]), axis, count)
    return coredExpr(reshape(core, [rows * count, inner, elements(kernel)]), side.across)
  }
  const [left, right] = [repeated(x, 1, second), repeated(y, 0, first)]
  return left && right && multiplied(left, right)
}

/** Column (p, q) is x[:, p] ⊙ y[:, q], of two matrices with the same rows. */
export function columnProducts(x: View, y: View): Expr {
  const [[rows = 0, first = 0], [, second = 0]] = [shapeOf(x), shapeOf(y)]
  const shape = [rows, first * second]
  return multiplied(read(reshape(spread(x, 2, second), shape)), read(reshape(spread(y, 1, first), shape)))
}

/** x ⊗ y: row (i, u) and column (j, v) is x[i, j] · y[u, v]. Undefined if terge does not make it. */
export function kronecker(x: Side, y: Side): Expr | undefined {
  const [[rows, columns], [low, wide]] = [sidesOf(x), sidesOf(y)]
  if (x.kind === 'cored' || (x.kind === 'identity' && y.kind !== 'view')) return undefined
  if (x.kind === 'identity') return read(spaced(matrixOf((y as Side & { kind: 'view' }).view), x.size, [0, 2, 1, 3]))
  if (y.kind === 'identity') return read(spaced(matrixOf(x.view), y.size, [2, 0, 3, 1]))
  const first = spread(spread(matrixOf(x.view), 2, wide), 1, low)
  const left = read(reshape(first, [rows * low, columns * wide]))
  if (y.kind === 'view') {
    const second = spread(spread(matrixOf(y.view), 1, columns), 0, rows)
    return multiplied(left, read(reshape(second, [rows * low, columns * wide])))
  }
  const [rank = 0, inner = 0, ...kernel] = shapeOf(y.core)
  const core = spread(reshape(y.core, [rank, inner, elements(kernel)]), 0, rows)
  const across = spread(y.across, 1, columns)
  return multiplied(
    left,
    coredExpr(
      reshape(core, [rows * rank, inner, elements(kernel)]),
      reshape(across, [inner, columns * shapeOf(y.across)[1]!]),
    ),
  )
}

/** A matrix [m, n] once for each place of a diagonal, with zeros beside it. `order`: of the axes [size, size, m, n]. */
function spaced(of: View, size: number, order: readonly number[]): View {
  const [m = 0, n = 0] = shapeOf(of)
  const row = reshape(of, [1, m * n])
  const runs = Array.from({ length: size }, (_, i) => [1, 0, 0, ...(i + 1 < size ? [size, ZEROS, 0] : [])]).flat()
  const all: View = { kind: 'gather', of: [row], map: { rows: size * size, runs, means: [] } }
  return reshape(permute(reshape(all, [size, size, m, n]), order), [size * m, size * n])
}
