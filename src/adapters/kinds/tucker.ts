/** LoCon with a middle convolution: ΔW is a Tucker decomposition of down, mid and up. */

import { elements } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import { leftShape, made, sideExpr, wholeOf } from '../alone.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Alone, Change, Kind, Misfit, Update, Weight } from '../types.js'
import { permute, read, reshape, viewOf } from '../views.js'
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

function alone({ parts }: Update): Alone | undefined {
  const { a, b, mid } = parts as { a: ValueTensor; b: ValueTensor; mid: ValueTensor }
  const [rank = 0, rows = 0] = b.shape
  const inputs = [a.shape[1] ?? 0, ...mid.shape.slice(2)]
  const shape = [rows, ...inputs]
  const delta = cored(mid, b, a, shape)
  if (!delta) return undefined
  const down = sideExpr({ kind: 'cored', core: viewOf(mid), across: viewOf(a) })
  const factors = {
    rank,
    a: made([rank, ...inputs], down, [a, mid]),
    b: {
      ...b,
      shape: leftShape(rows, rank, inputs),
      expr: read(reshape(permute(viewOf(b), [1, 0]), leftShape(rows, rank, inputs))),
    },
  }
  const isLow = rank > 0 && rank <= Math.min(rows, elements(inputs))
  return { rows, inputs, whole: () => wholeOf(delta, shape), ...(isLow ? { factors } : {}) }
}

export const tucker: Kind = { name: 'tucker', title: 'LoCon', parts: ['a', 'b', 'mid'], change, alone }
