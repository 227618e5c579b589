import type { Encoding } from './types.js'

/** IEEE 754 binary64. */
export const f64: Encoding = {
  name: 'F64',
  bits: 64,
  numbers: 'float',
  torch: ['float64', 'double'],
  torchStorage: 'Double',
  read: 'F64',
  write: { kernel: 'F64', recipe: ['float64', 'f64', 'fp64'] },
}
