/** LoKr (arXiv 2309.14859): ΔW = W1 ⊗ W2, each of them whole or a product; W2 can be a Tucker decomposition. */
import { elements } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import type { View } from '../../views/types.js'
import { type Side as Factor, sidesOf as factorSides, kronecker, leftShape, made, wholeOf } from '../alone.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Alone, Change, Delta, Hadamard, Kind, Misfit, Parts, Update, Weight } from '../types.js'
import { factor, permute, read, reshape, spread, viewOf } from '../views.js'
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

const deltaOf = (parts: Parts, sizes: Sizes, shape: readonly number[]): Delta => ({
  kind: 'hadamard',
  of: [first(parts, sizes, shape), second(parts, sizes, shape)],
})

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
  return { kind: 'add', delta: deltaOf(parts, sizes, shape) }
}

/** The shape of the weight as far as the tensors show it: of a convolution, W2 as a whole or its core show the kernel. */
function ownShape({ w1, w1_a, w1_b, w2, w2_a, w2_b, t2 }: Parts): readonly number[] {
  const [a = 0, c = 0] = w1 ? w1.shape : [w1_a?.shape[0], w1_b?.shape[1]]
  const [b = 0, d = 0] = w2 ? w2.shape : t2 ? [w2_a?.shape[1], w2_b?.shape[1]] : [w2_a?.shape[0], w2_b?.shape[1]]
  return [a * b, c * d, ...((w2 ?? t2 ?? w2_b)?.shape.slice(2) ?? [])]
}

/** Two factors of a matrix. Of a whole one, the side of an identity is the shorter one. */
function factorsOf(view: View | undefined, low: readonly [View, Factor] | undefined): [Factor, Factor] {
  if (!view) return [{ kind: 'view', view: low![0] }, low![1]]
  const own: Factor = { kind: 'view', view }
  const [rows, columns] = factorSides(own)
  return rows <= columns ? [{ kind: 'identity', size: rows }, own] : [own, { kind: 'identity', size: columns }]
}

/** (B1·A1) ⊗ (B2·A2) = (B1 ⊗ B2)·(A1 ⊗ A2). */
function alone({ parts }: Update): Alone | undefined {
  const shape = ownShape(parts)
  const sizes = sizesOf(parts, shape)
  if (!sizes) return undefined
  const { w1, w1_a, w1_b, w2, w2_a, w2_b, t2 } = parts
  const [rows = 0, ...inputs] = shape
  const pair = (a: ValueTensor | undefined, b: ValueTensor | undefined, core?: ValueTensor) =>
    a && b && ([core ? permute(viewOf(a), [1, 0]) : viewOf(a), sideOf(b, core)] as const)
  const one = factorsOf(w1 && viewOf(w1), pair(w1_a, w1_b))
  const two = factorsOf(w2 && viewOf(w2), pair(w2_a, w2_b, t2))
  // An identity times a core is not made: W1 gets the identity on its other side.
  if (t2 && one[1].kind === 'identity') one.splice(0, 2, { kind: 'identity', size: sizes.a }, one[0])
  const rank = factorSides(one[0])[1] * factorSides(two[0])[1]
  const isLow = rank > 0 && rank <= Math.min(rows, elements(inputs))
  const [b, a] = isLow ? [kronecker(one[0], two[0]), kronecker(one[1], two[1])] : []
  const all = Object.values(parts)
  return {
    ...{ rows, inputs, flat: inputs.length === 1, whole: () => wholeOf(deltaOf(parts, sizes, shape), shape) },
    ...(a && b
      ? { factors: { rank, a: made([rank, ...inputs], a, all), b: made(leftShape(rows, rank, inputs), b, all) } }
      : {}),
  }
}

const sideOf = (of: ValueTensor, core: ValueTensor | undefined): Factor =>
  core ? { kind: 'cored', core: viewOf(core), across: viewOf(of) } : { kind: 'view', view: viewOf(of) }

export const lokr: Kind = {
  name: 'lokr',
  title: 'LoKr',
  parts: ['w1?', 'w1_a?', 'w1_b?', 'w2?', 'w2_a?', 'w2_b?', 't2?'],
  change,
  alone,
}
