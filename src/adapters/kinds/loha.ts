/** LoHa (arXiv 2108.06098): ΔW = (W1a·W1b) ⊙ (W2a·W2b); with cores, each product is a Tucker decomposition. */
import { elements } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Change, Kind, Misfit, Parts, Product, Update, Weight } from '../types.js'
import { factor, viewOf } from '../views.js'
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

function change({ parts }: Update, { shape }: Weight): Change | Misfit {
  const [first, second] = [half(parts, '1', shape), half(parts, '2', shape)]
  if (!first || !second)
    return misfit(
      'adapter-shape',
      `: the shapes do not fit: ${listOf(parts)} and the weight [${shape.join(', ')}]`,
      RIGHT_BASE,
    )
  return { kind: 'add', delta: { kind: 'hadamard', of: [first, second] } }
}

export const loha: Kind = {
  name: 'loha',
  title: 'LoHa',
  parts: ['w1_a', 'w1_b', 'w2_a', 'w2_b', 't1?', 't2?'],
  change,
}
