/** The names of dtypes in safetensors. `encodings/` defines what they mean. */

/** Dtypes that kernels write. */
export type OutputDtype = 'F64' | 'F32' | 'F16' | 'BF16'
/** The same, and the one that only quantized results have. */
export type WrittenDtype = OutputDtype | 'F8_E4M3'
/** Dtypes that kernels read. */
export type FloatDtype = OutputDtype | 'F8_E4M3' | 'F8_E5M2'
/** The dtype of stored elements, with its name in safetensors. */
export type Dtype =
  | FloatDtype
  | 'BOOL'
  | 'F4'
  | 'F6_E2M3'
  | 'F6_E3M2'
  | 'F8_E8M0'
  | 'C64'
  | `${'I' | 'U'}${8 | 16 | 32 | 64}`

/**
 * The number of elements of a shape; 1 for a scalar. It does not check for overflow: readers check shapes before they
 * use them.
 */
export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)

/** Whether two shapes are equal: the same number of axes, and the same size of each. */
export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, axis) => size === b[axis])
