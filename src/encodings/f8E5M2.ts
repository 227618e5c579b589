import type { Encoding } from './types.js'

/** 5 bits of exponent and 2 of fraction: the upper half of binary16. */
export const f8E5M2: Encoding = {
  name: 'F8_E5M2',
  bits: 8,
  numbers: 'float',
  torch: ['float8_e5m2'],
  read: 'F8_E5M2',
  refusal: 'no standard defines how to round to it',
}
