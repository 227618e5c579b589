/**
 * The binary interface between the executor and the kernels. All of it is in one WebAssembly memory.
 *
 * A kernel is called `kernel(context, n)` on a chunk of n ≤ CHUNK consecutive elements. `context` points to:
 *
 *   +0  u32  number of inputs
 *   +4  u32  pointer to that many u32 pointers, one to each input's first element of this chunk
 *   +8  u32  pointer to the base's first element; 0 without a base
 *   +12 u32  pointer to the first element of the output (map kernels)
 *   +16 u32  pointer to the coefficients (f64)
 *   +20 u32  pointer to the sums (f64) or counts (u32) that reduce kernels add to
 *   +24 u64  index of the chunk's first element in its tensor
 *   +32 u32  elements per row (along the last axis); 0 if the program does not use rows
 *   +36 u32  pointer to the table (f64): of the chunk's first row on where it is one by row, else of the whole tensor
 *   +40 u32  pointer to scratch space of the size that the method's pass requires
 *   +44 u32  reduce kernels that are called row by row for the sums of a tile: first and last + 1 of the row's elements that
 *            lie in the tile (+48), the place of the first in the tile (+52), and 1 in the tile's last row (+56)
 *            Mixed kernels: a bit for each input that is in the compute type, bit 31 for the base
 *
 * Elements are in the compute type, f32 or f64 (`linear_f32`, `linear_f64`), or, in the fused kernels, in one stored
 * dtype for inputs, base and output alike (`linear_BF16`). No pointer need be aligned. A kernel may be called on a
 * whole tile at once and gives the same bits as on its chunks; a fused one the same as decode, kernel, encode. The
 * output must not overlap an input or the base: a chunk with NaN in it is done twice.
 *
 * WebAssembly leaves the bits of a computed NaN to the machine. So whatever is to be stored goes through `encode` or
 * comes from a fused kernel, float32 in float32 too: they write every NaN as the dtype's positive quiet NaN. Between
 * a decode and an encode a NaN is a NaN, its sign and payload unspecified.
 */

import type { FloatDtype, WrittenDtype } from '../core/dtypes.js'
import type { WebAssembly } from '../core/webassembly.js'

/** Elements per call: few enough that the decoded inputs stay in the first-level cache. Part of the format, because sums depend on it. */
export const CHUNK = 4096
/** Elements that kernels of sparsifying methods process at once. It determines their scratch space. */
export const BLOCK = 256
/** Scratch space of della's kernels for one model, rows of n elements: probabilities, keys, two lists of u64, counts. */
export const rankBytes = (n: number): number => 24 * (n + 3) + 3 * 2048 * 4 + 16
/** Elements per tile: the unit of work, of digests and of sums. Part of the format. */
export const TILE = 1 << 18
/** Bytes per leaf of a tensor's digest. A tile of a dtype with 8 or more bits is a whole number of leaves. Part of the format. */
export const LEAF = 1 << 18
/** Bytes of a digest in memory. */
export const DIGEST_BYTES = 16
/** Bytes of a context. */
export const CONTEXT_BYTES = 64
/** First address for the caller. Below it are the module's own data. A page of every supported system starts here. */
export const ARENA_START = 1 << 16

/** The type of the arithmetic: `float32` or `float64` in a recipe. */
export type Compute = 'f32' | 'f64'

/**
 * linear: out = Σ c_i x_i, added in the order of inputs, starting with the first product; of no inputs, 0.
 * task:   out = base + Σ c_i (x_i − base), the sum first, as for linear.
 * byRow, byColumn: the same, task where there is a base, with coefficients from a table: an input each for every row; the
 *   number of columns, then an input each for every column.
 * median, magmax, consensus, changed, fisher, nearswap: see the methods and assembly/combine/elementwise.ts; pcb: assembly/sparse/pcb.ts.
 * hadamard, normedRows, normedColumns: what adapters need, see assembly/combine/adapted.ts.
 * noised: random numbers added, block by block, see assembly/combine/noise.ts.
 * quotients: elements divided by numbers of a table, see assembly/sums/quantize.ts.
 * trimmed_, dropped_, ranked_sum and _elect, sce, choose: see assembly/sparse/sparse.ts, ranked.ts, sce.ts, fusion.ts.
 * formula: a compiled formula, see formula.ts.
 * Coefficients are rounded to the compute type, once.
 */
export type MapKernel =
  | 'linear'
  | 'task'
  | 'byRow'
  | 'byColumn'
  | 'median'
  | 'magmax'
  | 'consensus'
  | 'changed'
  | 'fisher'
  | 'nearswap'
  | 'pcb'
  | 'trimmed_sum'
  | 'trimmed_elect'
  | 'dropped_sum'
  | 'dropped_elect'
  | 'ranked_sum'
  | 'ranked_elect'
  | 'sce'
  | 'choose'
  | 'quotients'
  | 'hadamard'
  | 'normedRows'
  | 'normedColumns'
  | 'formula'
  | 'noised'
/**
 * dots: for inputs a and b, sums += [a·a, b·b, a·b], accumulated in float64: within each chunk element i goes to
 * lane i mod 4, the chunk's sum is (lane 0 + lane 2) + (lane 1 + lane 3), and is added to what the sums hold.
 * compare: the same, then (a − b)² added up in order within the chunk, and the largest |a − b|.
 * gram: for inputs (differences from the base where there is one) i ≤ j, x_i · x_j in the order of rows of a triangle.
 * dots_small, gram_small: the same of float64 inputs times 2^-537 each, for norms beyond float64; there is none in float32.
 * Elements that are not finite, and the same in all inputs and the base, are left out of dot products, and are no difference.
 * squares: its diagonal. columnDots: the gram of two inputs by column; the coefficient is the number of columns.
 * changes: counts of elements that differ from the base by more than the coefficient in one input alone, an input each,
 *   then in that input and others.
 * negatives: counts of the first input's elements that are negative, that are not finite, and that are not 0.
 * largest: by row, the largest finite magnitudes of runs of columns; the coefficient is the length of a run.
 * formula_sums: numbers of a whole tensor from compiled formulas, see assembly/formula/measure.ts.
 * coarse, fine, equals, nth: the steps of selection, see assembly/sparse/select.ts. Sums of sparsifying methods: sparseSums.ts.
 */
export type ReduceKernel =
  | 'dots'
  | 'dots_small'
  | 'compare'
  | 'gram'
  | 'gram_small'
  | 'squares'
  | 'columnDots'
  | 'changes'
  | 'negatives'
  | 'pcb_coarse'
  | 'pcb_fine'
  | `${'' | 'variance_' | 'importance_' | 'formula_'}${'coarse' | 'fine' | 'equals' | 'nth'}`
  | 'formula_sums'
  | 'trimmed_l1'
  | 'dropped_l1'
  | 'ranked_l1'
  | 'sce_squares'
  | 'largest'
  | 'divergence'

/** Map kernels with one coefficient per input, which may skip inputs whose coefficient is 0. */
export const SKIPS_ZERO: ReadonlySet<MapKernel> = new Set<MapKernel>(['linear', 'task'])

/** Inputs of a mixed kernel. */
export const MIXED_INPUTS = 3

/** Functions of float64 in the WebAssembly module, so that every engine gives the same bits. */
export interface ScalarMath {
  readonly sin: (x: number) => number
  readonly cos: (x: number) => number
  readonly acos: (x: number) => number
  readonly exp: (x: number) => number
  readonly log: (x: number) => number
  readonly pow: (x: number, y: number) => number
  readonly tanh: (x: number) => number
}

/** Converts `n` elements; addresses may be unaligned and must not overlap. */
export type Convert = (source: number, destination: number, n: number) => void
/** Works on `n` elements; the address is a context's. */
export type ChunkKernel = (context: number, n: number) => void

/** Bytes of a row of a panel that `AddProduct` takes: columns of the right factor side by side. */
export const PANEL_BYTES = 32
/** Rows of the left factor in a group. */
export const GROUP_ROWS = 4
/**
 * X + scale · L·R: of `rows` rows of `columns` elements those from column `from` to before `to`. The first of them lies at `x` in
 * its stored dtype, and goes to `out` in the compute type; where that is the same, so may be the addresses. `left`: groups of
 * rows, `right`: panels of columns from column 0 on, both packed as assembly/combine/lowRank.ts says.
 */
export type AddProduct = (
  x: number,
  out: number,
  columns: number,
  rows: number,
  from: number,
  to: number,
  left: number,
  right: number,
  rank: number,
  scale: number,
) => void

/**
 * Decodes codes of `rows` rows of `columns` numbers: see assembly/memory/decode.ts. `stride`: bytes from one row of codes
 * to the next.
 */
export type DecodeRows<More extends readonly number[] = []> = (
  source: number,
  stride: number,
  to: number,
  rows: number,
  columns: number,
  scales: number,
  zeros: number,
  line: number,
  step: number,
  first: number,
  run: number,
  ...more: More
) => void

/** The same for numbers that are decoded already, in place: see assembly/memory/unpack.ts. */
type ScaleRows<More extends readonly number[] = []> = (
  x: number,
  rows: number,
  columns: number,
  scales: number,
  zeros: number,
  line: number,
  step: number,
  ...more: More
) => void

/** Numbers from codes: see assembly/memory/decode.ts, unpack.ts and turn.ts. */
export interface UnpackKernels {
  readonly numbers: (dtype: 'F8_E4M3' | 'I8' | 'U8') => DecodeRows
  readonly nibbles: DecodeRows<[skip: number, high: number, table: number]>
  readonly across: DecodeRows<[at: number, order: number, n: number, bits: number]>
  readonly paired: (
    source: number,
    stride: number,
    to: number,
    rows: number,
    columns: number,
    scales: number,
    odd: number,
    table: number,
  ) => void
  readonly fields: (
    source: number,
    stride: number,
    to: number,
    rows: number,
    columns: number,
    first: number,
    bits: number,
    perWord: number,
  ) => void
  readonly line: (
    source: number,
    to: number,
    n: number,
    first: number,
    bits: number,
    perWord: number,
    order: number,
    plus: number,
    refused: number,
  ) => number
  readonly same: (source: number, to: number, n: number, shift: number, bits: number) => void
  readonly addAll: (x: number, n: number, plus: number, refused: number) => number
  readonly exponents: (source: number, stride: number, to: number, rows: number, columns: number) => void
  readonly scaleRuns: ScaleRows<[first: number, run: number]>
  readonly scaleEach: ScaleRows
  readonly scaleMapped: ScaleRows<[groups: number]>
  readonly scaleAll: (x: number, n: number, factor: number, over: number) => void
}

/** Rows of a matrix become columns. `line` and `stride`: bytes from one row to the next, and from one row of the result. */
type Turn = (source: number, line: number, rows: number, columns: number, to: number, stride: number) => void

/** By the bytes of an element. */
export interface TurnKernels extends Readonly<Record<1 | 2 | 4 | 8, Turn>> {
  /** For elements of so many bytes that are `step` bytes apart in their rows. */
  readonly apart: (
    source: number,
    line: number,
    step: number,
    rows: number,
    columns: number,
    to: number,
    stride: number,
    bytes: number,
  ) => void
}

/** An instance on one memory. Looking up a function is cheap, but should be outside of loops. */
export interface Kernels {
  readonly memory: WebAssembly.Memory
  /** Exact, except for F64 to f32, which rounds to nearest even. */
  readonly decode: (dtype: FloatDtype, compute: Compute) => Convert
  /** Rounds once, to nearest even; overflows to infinity. */
  readonly encode: (compute: Compute, dtype: WrittenDtype) => Convert
  /** Whether n stored elements are all finite. */
  readonly allFinite: (dtype: WrittenDtype) => (address: number, n: number) => boolean
  readonly map: (name: MapKernel, compute: Compute) => ChunkKernel
  readonly reduce: (name: ReduceKernel, compute: Compute) => ChunkKernel
  /** Map kernel directly from and to a stored dtype; undefined if there is none. Default of `compute`: f32. */
  readonly fused: (name: MapKernel, dtype: FloatDtype, compute?: Compute) => ChunkKernel | undefined
  /**
   * Map kernel of at most `MIXED_INPUTS` inputs to a stored dtype, from operands that are in that dtype or in float32.
   * Undefined if there is none.
   */
  readonly mixed: (name: MapKernel, dtype: FloatDtype, compute: Compute) => ChunkKernel | undefined
  /** Reduce kernel directly from a stored dtype. */
  readonly fusedReduce: (name: ReduceKernel, dtype: FloatDtype, compute?: Compute) => ChunkKernel | undefined
  /** Undefined if there is none directly from a stored dtype. From the compute type there always is one. */
  readonly addProduct: (dtype: FloatDtype, compute: Compute) => AddProduct | undefined
  readonly unpack: UnpackKernels
  readonly turn: TurnKernels
  /** Writes the XXH3-128 (seed 0, canonical byte order) of `bytes` bytes to the 16 at `out`. */
  readonly xxh3: (source: number, bytes: number, out: number) => void
  /** The same for each leaf of `leafBytes` (LEAF, in all digests), the last one perhaps shorter: 16 bytes a leaf. */
  readonly leaves: (source: number, bytes: number, leafBytes: number, out: number) => void
  readonly math: ScalarMath
  /** XXH3-128 of bytes outside of the memory, by a private instance. Copies the bytes. */
  readonly hash: (bytes: Uint8Array) => Uint8Array
}
