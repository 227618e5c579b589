/** Views: elements of stored tensors in another order or shape than they are stored. A view is plain data. */
import type { Dtype } from '../core/dtypes.js'
import type { DecodeForm } from './decodeForm.js'

/** Which stored elements a tensor is read from, and in which order. */
export type View =
  | StoredView
  | SliceView
  | PermuteView
  | ReshapeView
  | RepeatView
  | ConcatView
  | GatherView
  | DecodeView

/** A tensor as it is stored in a file. In a plan it is always a whole tensor, since digests cover whole tensors. */
export interface StoredView {
  readonly kind: 'stored'
  /** Index into the files of the plan or, in a checkpoint, into its files. */
  readonly file: number
  /** Its name in the file. */
  readonly tensor: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** Byte offset of the first element in the file. */
  readonly offset: number
  /** Number of bytes from the first to the last. */
  readonly bytes: number
  /** In elements. Absent if the tensor is contiguous. */
  readonly strides?: readonly number[]
}

/** `count` places along an axis, from place `start`. */
export interface SliceView {
  readonly kind: 'slice'
  readonly of: View
  readonly axis: number
  readonly start: number
  readonly count: number
}

/** The same elements with another order of axes: axis i is axis `axes[i]` of `of`. */
export interface PermuteView {
  readonly kind: 'permute'
  readonly of: View
  readonly axes: readonly number[]
}

/** The same elements in the same row-major order, with another shape. */
export interface ReshapeView {
  readonly kind: 'reshape'
  readonly of: View
  readonly shape: readonly number[]
}

/** The only place along an axis, `count` times. */
export interface RepeatView {
  readonly kind: 'repeat'
  readonly of: View
  readonly axis: number
  readonly count: number
}

/** Concatenates views along an axis. Their other sizes are equal. */
export interface ConcatView {
  readonly kind: 'concat'
  readonly axis: number
  readonly parts: readonly View[]
}

/** Float32 numbers that are computed from stored codes, scales and zero points. */
export interface DecodeView {
  readonly kind: 'decode'
  readonly shape: readonly number[]
  /** The codes, then what `form` refers to by index: whole stored tensors, perhaps with another order of axes. */
  readonly of: readonly View[]
  readonly form: DecodeForm
  /** For people: `FP8, 128 × 128 blocks`. */
  readonly format: string
}

/** Elements selected by a map of places. */
export type GatherView = RowGather | FoundGather

/** A tensor whose rows (places along the first axis) come from one or more views with equal row shapes. */
export interface RowGather {
  readonly kind: 'gather'
  readonly of: readonly View[]
  readonly map: RowMap
}

export interface RowMap {
  /** The number of rows. */
  readonly rows: number
  /**
   * Runs of rows in order, three numbers each: count, source, first row. A source is an index into `of`, or one of
   * `ZEROS`, `MEANS` (averages, from this index into `means`) and `MEAN_BEFORE` (the mean of the result's rows before
   * this row, without rows that are such a mean).
   */
  readonly runs: readonly number[]
  /** The rows of each average: source and row of each, in turns. */
  readonly means: readonly (readonly number[])[]
}

export const ZEROS = -1
export const MEANS = -2
export const MEAN_BEFORE = -3

/** A tensor that is permuted along some axes as a step finds out during the run. */
export interface FoundGather {
  readonly kind: 'gather'
  readonly of: readonly [View]
  readonly map: Finding
}

/** Identifies the permutations that a step finds for a model's tensor. */
export interface Finding {
  readonly step: string
  readonly tensor: string
}

export const isFound = (view: GatherView): view is FoundGather => 'step' in view.map

/** The permutation of one axis: place i of the aligned tensor is place map[i] of the stored tensor. */
export interface AxisMap {
  readonly axis: number
  readonly map: Int32Array
}
