/** Views: elements of stored tensors in another order, or with another shape, than they lie in. A view is plain data. */
import type { Dtype } from '../core/dtypes.js'

export type View = StoredView | SliceView | PermuteView | ReshapeView | ConcatView | GatherView

/** A tensor as it lies in a file. In a plan it is always a whole one, since digests are of whole tensors. */
export interface StoredView {
  readonly kind: 'stored'
  /** Index into the files of the plan; inside of a checkpoint, into its own. */
  readonly file: number
  /** Its name in the file. */
  readonly tensor: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** Of the first element, in bytes from the start of the file. */
  readonly offset: number
  /** From the first byte to the last. */
  readonly bytes: number
  /** In elements, if they do not lie one after the other in row-major order. */
  readonly strides?: readonly number[]
}

/** `count` places along an axis, from place `start` on. */
export interface SliceView {
  readonly kind: 'slice'
  readonly of: View
  readonly axis: number
  readonly start: number
  readonly count: number
}

/** The same elements with their axes in another order: axis i is axis `axes[i]` of what it is of. */
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

/** Views of one shape but for their size along an axis, one after the other along it. */
export interface ConcatView {
  readonly kind: 'concat'
  readonly axis: number
  readonly parts: readonly View[]
}

/** Elements by a map of their places. */
export type GatherView = RowGather | FoundGather

/** A tensor of rows (places along the first axis) of one or more others, whose rows have one shape. */
export interface RowGather {
  readonly kind: 'gather'
  readonly of: readonly View[]
  readonly map: RowMap
}

export interface RowMap {
  /** How many there are. */
  readonly rows: number
  /**
   * Runs of rows in order, three numbers each: how many, source, first row. A source is an index into `of`, or one of `ZEROS`,
   * `MEANS` (averages, from that index into `means` on) and `MEAN_BEFORE` (the mean of the result's rows before that row,
   * without those that are such a mean themselves).
   */
  readonly runs: readonly number[]
  /** Rows to be averaged: source and row of each, one after the other. */
  readonly means: readonly (readonly number[])[]
}

export const ZEROS = -1
export const MEANS = -2
export const MEAN_BEFORE = -3

/** A tensor whose places along some axes are permuted, as a step finds it out when the plan is run. */
export interface FoundGather {
  readonly kind: 'gather'
  readonly of: readonly [View]
  readonly map: Finding
}

/** Names the permutations that a step finds for a model's tensor. */
export interface Finding {
  readonly step: string
  readonly tensor: string
}

export const isFound = (view: GatherView): view is FoundGather => 'step' in view.map

/** How each place of a tensor's axis is read: place i of the aligned tensor is place map[i] of the stored one. */
export interface AxisMap {
  readonly axis: number
  readonly map: Int32Array
}
