import type { Encoding } from './types.js'

/** The upper half of binary32. */
export const bf16: Encoding = {
  name: 'BF16',
  bits: 16,
  numbers: 'float',
  torch: ['bfloat16'],
  torchStorage: 'BFloat16',
  read: 'BF16',
  write: { kernel: 'BF16', recipe: ['bfloat16', 'bf16'] },
}
