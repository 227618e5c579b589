/**
 * The binary interface between the executor and the kernels, all of it in one WebAssembly memory.
 *
 * A kernel is called `kernel(context, n)` on a chunk of n ≤ CHUNK consecutive elements. `context` points to:
 *
 *   +0  u32  number of inputs
 *   +4  u32  pointer to that many u32 pointers, one to each input's first element of this chunk
 *   +8  u32  pointer to the base's first element, 0 where there is none
 *   +12 u32  pointer to the first element of the output (map kernels)
 *   +16 u32  pointer to the coefficients (f64)
 *   +20 u32  pointer to the sums (f64, reduce kernels add to them)
 *   +24 u64  index of the chunk's first element in its tensor
 *
 * Elements are in the compute type, f32 or f64 (`linear_f32`, `linear_f64`), or, in the fused kernels, in one stored
 * dtype for inputs, base and output alike (`linear_BF16`). No pointer need be aligned. A fused kernel may be called on
 * a whole tile at once and gives the same bits as decode, kernel, encode on its chunks.
 */

/** Elements a call: small enough that the decoded inputs stay in the first-level cache. Part of the format: sums depend on it. */
export const CHUNK = 4096
/** Elements a tile: the unit of work, of digests and of sums. Part of the format. */
export const TILE = 1 << 18
/** Bytes a leaf of a tensor's digest; a tile of any dtype of 8 bits or more is a whole number of leaves. Part of the format. */
export const LEAF = 1 << 18
/** Bytes of a context. */
export const CONTEXT_BYTES = 64

/**
 * linear: out = Σ c_i x_i, added in the order of inputs.
 * task:   out = base + Σ c_i (x_i − base), the sum first, added in the order of inputs.
 */
export type MapKernel = 'linear' | 'task'
/** dots: for inputs a and b, sums += [a·a, b·b, a·b], accumulated in float64. */
export type ReduceKernel = 'dots'

/** Functions of float64 that are compiled into the WebAssembly module, so that every engine gives the same bits. */
export interface ScalarMath {
  readonly sin: (x: number) => number
  readonly cos: (x: number) => number
  readonly acos: (x: number) => number
  readonly exp: (x: number) => number
  readonly log: (x: number) => number
  readonly pow: (x: number, y: number) => number
}
