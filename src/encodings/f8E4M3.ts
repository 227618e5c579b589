import type { Encoding } from './types.js'

/** 4 bits of exponent and 3 of fraction, one NaN per sign and no infinities, as the Open Compute Project defines it. */
export const f8E4M3: Encoding = {
  name: 'F8_E4M3',
  bits: 8,
  numbers: 'float',
  torch: ['float8_e4m3fn'],
  read: 'F8_E4M3',
  refusal: 'no standard defines how to round to it',
}
