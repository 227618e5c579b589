/** The registry of encodings, narrow ones first: safetensors sorts the tensors of a file by this order, reversed. */
import type { Dtype, FloatDtype, OutputDtype } from '../core/dtypes.js'
import { bf16 } from './bf16.js'
import { bool, c64, f4, f6E2M3, f6E3M2, f8E8M0, i8, i16, i32, i64, u8, u16, u32, u64 } from './copied.js'
import { f8E4M3 } from './f8E4M3.js'
import { f8E5M2 } from './f8E5M2.js'
import { f16 } from './f16.js'
import { f32 } from './f32.js'
import { f64 } from './f64.js'
import type { Encoding } from './types.js'

const BY_NAME: Readonly<Record<Dtype, Encoding>> = {
  BOOL: bool,
  F4: f4,
  F6_E2M3: f6E2M3,
  F6_E3M2: f6E3M2,
  U8: u8,
  I8: i8,
  F8_E5M2: f8E5M2,
  F8_E4M3: f8E4M3,
  F8_E8M0: f8E8M0,
  I16: i16,
  U16: u16,
  F16: f16,
  BF16: bf16,
  I32: i32,
  U32: u32,
  F32: f32,
  C64: c64,
  F64: f64,
  I64: i64,
  U64: u64,
}

export const ENCODINGS: readonly Encoding[] = Object.values(BY_NAME)

export const encodingOf = (dtype: Dtype): Encoding => BY_NAME[dtype]

export const isDtype = (name: string): name is Dtype => Object.hasOwn(BY_NAME, name)

/** Whether terge computes with the dtype. Such tensors can be merged and cast; all others are copied byte for byte. */
export const isFloat = (dtype: Dtype): dtype is FloatDtype => BY_NAME[dtype].read !== undefined

/** Whether results can be written in the dtype. */
export const isWritable = (dtype: Dtype): dtype is OutputDtype => BY_NAME[dtype].write !== undefined

/** Bytes of a number of elements; a fraction if they do not fill whole bytes. */
export const bytesOf = (dtype: Dtype, elements = 1): number => (BY_NAME[dtype].bits * elements) / 8

/** The names that `dtype` in a recipe accepts. */
export const DTYPE_NAMES: Readonly<Record<string, OutputDtype>> = Object.fromEntries(
  [f64, f32, f16, bf16].flatMap(({ write }) => write!.recipe.map((name) => [name, write!.kernel])),
)
