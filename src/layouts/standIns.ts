/** Tensors that only have a name, a dtype and a shape: what layouts make of them shows which tensors of a model a name stands for. */
import { elements } from '../core/dtypes.js'
import { bytesOf } from '../encodings/index.js'
import type { View } from '../views/types.js'
import type { Tensors } from './types.js'

type Sized = Pick<View & { kind: 'stored' }, 'shape' | 'dtype'>

export const standIns = (tensors: Iterable<readonly [string, Sized]>): Tensors =>
  new Map(
    [...tensors].map(([name, { shape, dtype }]) => {
      const bytes = bytesOf(dtype, elements(shape))
      const view: View = { kind: 'stored', file: 0, tensor: name, dtype, shape, offset: 0, bytes }
      return [name, { name, dtype, shape, view }]
    }),
  )
