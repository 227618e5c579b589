/** The expressions of a weight that an adapter changes. */
import type { Change, Delta, Magnitude, Product, Target } from '../../adapters/types.js'
import { along, padded, read, viewOf } from '../../adapters/views.js'
import { elements } from '../../core/dtypes.js'
import type { Expr, LoraExpr, LoraFactor, MergeExpr, ReadExpr } from '../../expr/types.js'
import type { ValueTensor } from '../../expr/values.js'
import type { Adapted } from '../../methods/adapted.js'
import { shapeOf } from '../../views/shape.js'

/** The names of a model and of its adapter, as in the plan. */
export interface Names {
  readonly model: string
  readonly adapter: string
}

/** A merge as which the plan has a change: `inputs` are of the model first, then of the adapter. */
function adapted(
  names: Names,
  method: Adapted,
  parameters: MergeExpr['parameters'],
  inputs: readonly Expr[],
  more: Pick<MergeExpr, 'base' | 'shape'> = {},
): MergeExpr {
  const first = more.base ? names.adapter : names.model
  return {
    ...{ kind: 'merge', step: names.model, method },
    models: inputs.map((_, index) => (index === 0 ? first : names.adapter)),
    ...{ weights: inputs.map(() => 1), parameters, inputs, ...more },
  }
}

/** A matrix with rows of zeros around those that change. */
const rowsOf = (factor: LoraFactor, { start }: NonNullable<Target['rows']>, total: number): LoraFactor => {
  const { view } = factor.read
  if (!factor.byRank) return { ...factor, read: read(padded(view, start, total)) }
  const [rank, count] = [shapeOf(view)[0]!, elements(shapeOf(view).slice(1))]
  const flat = { kind: 'reshape', of: view, shape: [rank, count] } as const
  const turned = { kind: 'permute', of: flat, axes: [1, 0] } as const
  return { read: read(padded(turned, start, total)), byRank: false }
}

function productExpr(product: Product, shape: readonly number[], scale: number, rows: Target['rows']): LoraExpr {
  const { kind: _, ...factors } = product
  if (!rows) return { kind: 'lora', shape, scale, ...factors }
  const total = shape[0]!
  if (factors.left) return { kind: 'lora', shape, scale, ...factors, left: rowsOf(factors.left, rows, total) }
  return {
    kind: 'lora',
    shape,
    scale,
    ...factors,
    right: { ...factors.right, ...rowsOf({ ...factors.right, byRank: false }, rows, total) },
  }
}

const sideExpr = (side: Product | ReadExpr, shape: readonly number[], rows: Target['rows']): Expr => {
  if (side.kind === 'product') return productExpr(side, shape, 1, rows)
  return rows ? read(padded(side.view, rows.start, shape[0]!)) : side
}

/** W + scale · ΔW. */
export function plus(
  names: Names,
  weight: Expr,
  shape: readonly number[],
  delta: Delta,
  scale: number,
  rows: Target['rows'],
): Expr {
  if (delta.kind === 'hadamard') {
    const inputs = delta.of.map((side) => sideExpr(side, shape, rows))
    return adapted(names, 'adapter-product', { scale }, inputs, { base: weight })
  }
  if (delta.kind === 'read') return adapted(names, 'adapter-sum', { scale }, [weight, sideExpr(delta, shape, rows)])
  const update = productExpr(delta, shape, scale, rows)
  if (weight.kind === 'read') {
    const { kind, ...rest } = update
    return { kind, base: weight, ...rest }
  }
  return adapted(names, 'adapter-sum', { scale: 1 }, [weight, update])
}

/** W without the part that the factors were at the beginning: rounded to its dtype, as the network had it in training. */
export function without(
  names: Names,
  { expr, dtype }: Pick<ValueTensor, 'expr' | 'dtype'>,
  start: 'pissa' | 'olora',
  rank: number,
  scale: number,
): Expr {
  const rest = adapted(names, `adapter-${start}`, { rank, scale }, [expr])
  return dtype === 'BF16' || dtype === 'F16' ? { ...rest, rounded: dtype } : rest
}

/** W times `factor`, element by element. */
export const times = (names: Names, weight: Expr, factor: ReadExpr): Expr =>
  adapted(names, 'adapter-product', { scale: 1 }, [weight, factor])

/** W times reflections. */
export function reflected(
  names: Names,
  weight: Expr,
  shape: readonly number[],
  { by, rank, orthonormal }: Change & { readonly kind: 'reflect' },
): Expr {
  const flat = [shape[0]!, elements(shape.slice(1))]
  return adapted(names, 'adapter-hra', { rank, orthonormal: orthonormal ? 1 : 0 }, [weight, by], { shape: flat })
}

/** Blocks of W times rotations. */
export function rotated(
  names: Names,
  weight: Expr,
  shape: readonly number[],
  { by, size, vectors, terms }: Change & { readonly kind: 'rotate' },
): Expr {
  const flat = [shape[0]!, elements(shape.slice(1))]
  return adapted(names, 'adapter-oft', { size, vectors, terms }, [weight, by], { shape: flat })
}

/** V with other norms of its rows, columns or input channels. */
export function normed(
  names: Names,
  updated: Expr,
  shape: readonly number[],
  { tensor, epsilon }: Magnitude,
  per: NonNullable<Magnitude['per']>,
): Expr {
  const flat = [shape[0]!, elements(shape.slice(1))]
  const group = per === 'channels' ? elements(shape.slice(2)) : 1
  const single = viewOf(tensor)
  // One number per column.
  const own = group === 1 ? single : along(single, 'rows', [shape[1]!, group])
  const magnitudes = read(along(own, per === 'rows' ? 'rows' : 'columns', flat))
  const method = per === 'rows' ? 'adapter-rows' : 'adapter-columns'
  const parameters = group === 1 ? { epsilon } : { epsilon, group }
  return adapted(names, method, parameters, [updated, magnitudes], { shape: flat })
}

/** (1 − share) · V + share · N. */
export const between = (names: Names, updated: Expr, whole: Expr, share: number): Expr =>
  adapted(names, 'adapter-sum', { scale: share, kept: 1 - share }, [updated, whole])
