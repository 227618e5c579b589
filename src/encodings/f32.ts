import type { Encoding } from './types.js'

/** IEEE 754 binary32. */
export const f32: Encoding = {
  name: 'F32',
  bits: 32,
  numbers: 'float',
  torch: ['float32', 'float'],
  torchStorage: 'Float',
  read: 'F32',
  write: { kernel: 'F32', recipe: ['float32', 'f32', 'fp32'] },
}
