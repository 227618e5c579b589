import type { Encoding } from './types.js'

/** IEEE 754 binary16. */
export const f16: Encoding = {
  name: 'F16',
  bits: 16,
  numbers: 'float',
  torch: ['float16', 'half'],
  torchStorage: 'Half',
  read: 'F16',
  write: { kernel: 'F16', recipe: ['float16', 'f16', 'fp16'] },
}
