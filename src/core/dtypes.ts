/** The dtypes of the safetensors format, by name, with their size in bits; `float` marks those terge computes on. */

export interface DtypeInfo {
  readonly bits: number
  /** Arithmetic is defined: such tensors are merged and cast. All others are copied byte for byte. */
  readonly float: boolean
  /** terge can write results in it. FP8 is read only: it has no one agreed rounding for weights. */
  readonly writable: boolean
}

export const DTYPES = {
  BOOL: { bits: 8, float: false, writable: false },
  F4: { bits: 4, float: false, writable: false },
  F6_E2M3: { bits: 6, float: false, writable: false },
  F6_E3M2: { bits: 6, float: false, writable: false },
  U8: { bits: 8, float: false, writable: false },
  I8: { bits: 8, float: false, writable: false },
  F8_E5M2: { bits: 8, float: true, writable: false },
  F8_E4M3: { bits: 8, float: true, writable: false },
  F8_E8M0: { bits: 8, float: false, writable: false },
  I16: { bits: 16, float: false, writable: false },
  U16: { bits: 16, float: false, writable: false },
  F16: { bits: 16, float: true, writable: true },
  BF16: { bits: 16, float: true, writable: true },
  I32: { bits: 32, float: false, writable: false },
  U32: { bits: 32, float: false, writable: false },
  F32: { bits: 32, float: true, writable: true },
  C64: { bits: 64, float: false, writable: false },
  F64: { bits: 64, float: true, writable: true },
  I64: { bits: 64, float: false, writable: false },
  U64: { bits: 64, float: false, writable: false },
} as const satisfies Record<string, DtypeInfo>

export type Dtype = keyof typeof DTYPES
/** What the kernels read. */
export type FloatDtype = 'F64' | 'F32' | 'F16' | 'BF16' | 'F8_E4M3' | 'F8_E5M2'
/** What the kernels write. */
export type OutputDtype = 'F64' | 'F32' | 'F16' | 'BF16'

export const isDtype = (name: string): name is Dtype => Object.hasOwn(DTYPES, name)
export const isFloat = (dtype: Dtype): dtype is FloatDtype => DTYPES[dtype].float
export const isWritable = (dtype: Dtype): dtype is OutputDtype => DTYPES[dtype].writable

/** The names that a recipe's `dtype` may have. */
export const DTYPE_NAMES: Readonly<Record<string, OutputDtype>> = {
  float64: 'F64',
  f64: 'F64',
  fp64: 'F64',
  float32: 'F32',
  f32: 'F32',
  fp32: 'F32',
  float16: 'F16',
  f16: 'F16',
  fp16: 'F16',
  bfloat16: 'BF16',
  bf16: 'BF16',
}

/** Elements of a shape; 1 for a scalar. Not checked for overflow: readers check before they trust a shape. */
export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
