/** LoCon with a middle convolution: ΔW is a Tucker decomposition of down, mid and up. */
import type { ValueTensor } from '../../expr/values.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Change, Kind, Misfit, Update, Weight } from '../types.js'
import { cored } from './cored.js'

/** `a`: [rank, inputs]; `b`: [rank, outputs]. */
function change({ parts }: Update, { shape }: Weight): Change | Misfit {
  const { a, b, mid } = parts as { a: ValueTensor; b: ValueTensor; mid: ValueTensor }
  const delta = cored(mid, b, a, shape)
  if (delta) return { kind: 'add', delta }
  const list = Object.entries(parts).map(([role, part]) => `${role} [${part.shape.join(', ')}]`)
  return misfit(
    'adapter-shape',
    `: the shapes do not fit: ${list.join(', ')} and the weight [${shape.join(', ')}]`,
    RIGHT_BASE,
  )
}

export const tucker: Kind = { name: 'tucker', title: 'LoCon', parts: ['a', 'b', 'mid'], change }
