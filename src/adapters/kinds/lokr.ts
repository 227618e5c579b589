/** LoKr (arXiv 2309.14859): ΔW = W1 ⊗ W2, each of them whole or a product; W2 can be a Tucker decomposition. */
import { elements } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import type { View } from '../../views/types.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Change, Delta, Hadamard, Kind, Misfit, Parts, Update, Weight } from '../types.js'
import { factor, read, reshape, spread, viewOf } from '../views.js'
import { coredProduct } from './cored.js'

/** The sizes of W1 [a, c] and of W2 [b, d, kernel]: W is [a·b, c·d, kernel]. */
interface Sizes {
  readonly a: number
  readonly b: number
  readonly c: number
  readonly d: number
  readonly kernel: number
}

function sizesOf({ w1, w1_a, w1_b, w2, w2_a, w2_b, t2 }: Parts, shape: readonly number[]): Sizes | undefined {
  const [rows = 0, inputs = 0] = shape
  const kernel = elements(shape.slice(2))
  const first = w1 ? w1.shape : w1_a && w1_b ? [w1_a.shape[0], w1_b.shape[1]] : []
  const [a = 0, c = 0] = first
  const tall = w2 ? w2.shape[0] : t2 ? w2_a?.shape[1] : w2_a?.shape[0]
  const all = w2 ?? (t2 ? undefined : w2_b)
  const wide = t2 ? w2_b?.shape[1] : all && elements(all.shape.slice(1)) / kernel
  const [b = 0, d = 0] = [tall, wide]
  const low = (left: ValueTensor | undefined, right: ValueTensor | undefined) =>
    !left || !right || left.shape[1] === right.shape[0]
  const fits = first.length === 2 && a * b === rows && c * d === inputs && rows > 0 && inputs > 0
  const ranks = low(w1_a, w1_b) && (t2 ? coreFits(t2, w2_a, w2_b, kernel) : low(w2_a, w2_b))
  return fits && ranks ? { a, b, c, d, kernel } : undefined
}

const coreFits = (core: ValueTensor, a: ValueTensor | undefined, b: ValueTensor | undefined, kernel: number): boolean =>
  core.shape[0] === a?.shape[0] && core.shape[1] === b?.shape[0] && elements(core.shape.slice(2)) === kernel

type Side = Hadamard['of'][number]

/** W1 in the shape of W: each element is repeated for all of W2. */
function first({ w1, w1_a, w1_b }: Parts, { a, b, c, d, kernel }: Sizes, shape: readonly number[]): Side {
  const across = (view: View, from: number): View => spread(view, from, d * kernel)
  if (w1) {
    const flat = reshape(viewOf(w1), [a, c])
    return read(reshape(spread(across(flat, 2), 1, b), shape))
  }
  const rank = w1_a!.shape[1]!
  const left = reshape(spread(viewOf(w1_a!), 1, b), [a * b, rank])
  const right = reshape(across(viewOf(w1_b!), 2), [rank, c * d * kernel])
  return { kind: 'product', rank, left: factor(left, false), right: factor(right, true) }
}

/** W2 in the shape of W: the whole of it is repeated for each element of W1. */
function second({ w2, w2_a, w2_b, t2 }: Parts, { a, b, c, d, kernel }: Sizes, shape: readonly number[]): Side {
  if (w2) {
    const flat = reshape(viewOf(w2), [b, d * kernel])
    return read(reshape(spread(spread(flat, 1, c), 0, a), shape))
  }
  if (t2) {
    const [rank = 0, inner = 0] = t2.shape
    const left = reshape(spread(viewOf(w2_a!), 1, a), [rank, a * b])
    const right = reshape(spread(viewOf(w2_b!), 1, c), [inner, c * d])
    return coredProduct(left, right, t2)
  }
  const rank = w2_a!.shape[1]!
  const left = reshape(spread(viewOf(w2_a!), 0, a), [a * b, rank])
  const right = reshape(spread(reshape(viewOf(w2_b!), [rank, d * kernel]), 1, c), [rank, c * d * kernel])
  return { kind: 'product', rank, left: factor(left, false), right: factor(right, true) }
}

function change({ parts }: Update, { shape }: Weight): Change | Misfit {
  const sizes = sizesOf(parts, shape)
  if (!sizes) {
    const list = Object.entries(parts).map(([role, part]) => `${role} [${part.shape.join(', ')}]`)
    return misfit(
      'adapter-shape',
      `: the shapes do not fit: ${list.join(', ')} and the weight [${shape.join(', ')}]`,
      RIGHT_BASE,
    )
  }
  const delta: Delta = { kind: 'hadamard', of: [first(parts, sizes, shape), second(parts, sizes, shape)] }
  return { kind: 'add', delta }
}

export const lokr: Kind = {
  name: 'lokr',
  title: 'LoKr',
  parts: ['w1?', 'w1_a?', 'w1_b?', 'w2?', 'w2_a?', 'w2_b?', 't2?'],
  change,
}
