/** Encodings that terge does not compute on: their tensors are copied byte for byte. */
import type { Dtype } from '../core/dtypes.js'
import type { Encoding } from './types.js'

const copied = (
  name: Dtype,
  bits: number,
  numbers: Encoding['numbers'],
  torch: readonly string[] = [],
  torchStorage?: string,
): Encoding => ({ name, bits, numbers, torch, ...(torchStorage === undefined ? {} : { torchStorage }) })

export const bool = copied('BOOL', 8, 'truth', ['bool'], 'Bool')
/** Elements of packed weights and their scales. A single element has no meaning. */
export const f4 = copied('F4', 4, 'float')
export const f6E2M3 = copied('F6_E2M3', 6, 'float')
export const f6E3M2 = copied('F6_E3M2', 6, 'float')
export const f8E8M0 = copied('F8_E8M0', 8, 'float', ['float8_e8m0fnu'])
export const u8 = copied('U8', 8, 'integer', ['uint8'], 'Byte')
export const i8 = copied('I8', 8, 'integer', ['int8'], 'Char')
export const u16 = copied('U16', 16, 'integer', ['uint16'])
export const i16 = copied('I16', 16, 'integer', ['int16', 'short'], 'Short')
export const u32 = copied('U32', 32, 'integer', ['uint32'])
export const i32 = copied('I32', 32, 'integer', ['int32', 'int'], 'Int')
export const u64 = copied('U64', 64, 'integer', ['uint64'])
export const i64 = copied('I64', 64, 'integer', ['int64', 'long'], 'Long')
export const c64 = copied('C64', 64, 'complex', ['complex64', 'cfloat'], 'ComplexFloat')
