/** LoHa (arXiv 2108.06098): ΔW = (W1a·W1b) ⊙ (W2a·W2b); with cores, each product is a Tucker decomposition. */
import { elements } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import type { View } from '../../views/types.js'
import { columnProducts, leftShape, made, rowProducts, type Side, sidesOf, wholeOf } from '../alone.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Alone, Change, Delta, Kind, Misfit, Parts, Product, Update, Weight } from '../types.js'
import { factor, permute, viewOf } from '../views.js'
import { cored } from './cored.js'

const listOf = (parts: Parts): string =>
  Object.entries(parts)
    .map(([role, { shape }]) => `${role} [${shape.join(', ')}]`)
    .join(', ')

/** A product of two factors that makes a weight of this shape; undefined if it does not. */
function half(parts: Parts, index: '1' | '2', shape: readonly number[]): Product | undefined {
  const [a, b, core] = [parts[`w${index}_a`]!, parts[`w${index}_b`]!, parts[`t${index}`]] as [
    ValueTensor,
    ValueTensor,
    ValueTensor | undefined,
  ]
  if (core) return cored(core, a, b, shape)
  const [rows, columns] = [shape[0]!, elements(shape.slice(1))]
  const rank = a.shape[1]
  const fits =
    a.shape.length === 2 && a.shape[0] === rows && b.shape[0] === rank && elements(b.shape) === rank! * columns
  return fits
    ? { kind: 'product', rank: rank!, left: factor(viewOf(a), false), right: factor(viewOf(b), true) }
    : undefined
}

function deltaOf(parts: Parts, shape: readonly number[]): Delta | undefined {
  const [first, second] = [half(parts, '1', shape), half(parts, '2', shape)]
  return first && second && { kind: 'hadamard', of: [first, second] }
}

function change({ parts }: Update, { shape }: Weight): Change | Misfit {
  const delta = deltaOf(parts, shape)
  if (!delta)
    return misfit(
      'adapter-shape',
      `: the shapes do not fit: ${listOf(parts)} and the weight [${shape.join(', ')}]`,
      RIGHT_BASE,
    )
  return { kind: 'add', delta }
}

/** The shape of the weight as far as the tensors show it. Only cores show the kernel of a convolution. */
function ownShape({ w1_a, w1_b, t1 }: Parts): readonly number[] {
  const [rows = 0, inputs = 0] = t1 ? [w1_a!.shape[1], w1_b!.shape[1]] : [w1_a!.shape[0], w1_b!.shape[1]]
  return [rows, inputs, ...(t1 ? t1.shape.slice(2) : w1_b!.shape.slice(2))]
}

/** B [rows, rank] and A [rank, columns] of one half. */
function sides(parts: Parts, index: '1' | '2'): { readonly left: View; readonly right: Side } {
  const [a, b, core] = [parts[`w${index}_a`]!, parts[`w${index}_b`]!, parts[`t${index}`]]
  if (!core) return { left: viewOf(a), right: { kind: 'view', view: viewOf(b) } }
  return { left: permute(viewOf(a), [1, 0]), right: { kind: 'cored', core: viewOf(core), across: viewOf(b) } }
}

/** (B1·A1) ⊙ (B2·A2) = B·A: a column of B for each two columns of B1 and B2, and rows of A alike (Khatri-Rao products). */
function alone({ parts }: Update): Alone | undefined {
  const shape = ownShape(parts)
  const delta = deltaOf(parts, shape)
  if (!delta) return undefined
  const [rows = 0, ...inputs] = shape
  const [first, second] = [sides(parts, '1'), sides(parts, '2')]
  const rank = sidesOf(first.right)[0] * sidesOf(second.right)[0]
  const a = rank <= Math.min(rows, elements(inputs)) ? rowProducts(first.right, second.right) : undefined
  const all = Object.values(parts)
  return {
    ...{ rows, inputs, flat: inputs.length === 1, whole: () => wholeOf(delta, shape) },
    ...(a && rank > 0
      ? {
          factors: {
            rank,
            a: made([rank, ...inputs], a, all),
            b: made(leftShape(rows, rank, inputs), columnProducts(first.left, second.left), all),
          },
        }
      : {}),
  }
}

export const loha: Kind = {
  name: 'loha',
  title: 'LoHa',
  parts: ['w1_a', 'w1_b', 'w2_a', 'w2_b', 't1?', 't2?'],
  change,
  alone,
}
