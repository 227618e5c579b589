/** The names of dtypes, as safetensors has them. What they stand for is in `encodings/`. */

/** What the kernels write. */
export type OutputDtype = 'F64' | 'F32' | 'F16' | 'BF16'
/** What the kernels read. */
export type FloatDtype = OutputDtype | 'F8_E4M3' | 'F8_E5M2'
/** How a stored element is written, by the names of safetensors. */
export type Dtype =
  | FloatDtype
  | 'BOOL'
  | 'F4'
  | 'F6_E2M3'
  | 'F6_E3M2'
  | 'F8_E8M0'
  | 'C64'
  | `${'I' | 'U'}${8 | 16 | 32 | 64}`

/** Elements of a shape; 1 for a scalar. Not checked for overflow: readers check before they trust a shape. */
export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
