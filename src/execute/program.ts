import type { FloatDtype, OutputDtype } from '../core/dtypes.js'
import type { MapKernel, ReduceKernel } from '../kernels/types.js'

/**
 * What a worker gets to know of one output tensor: nodes in the order they are evaluated, and passes over all tiles.
 * Plain data; coefficients come with each task, since later passes' depend on the sums of earlier ones.
 */
export interface Program {
  /** Of each leaf and of the output; where bytes are only copied or digested (`raw`), an element is a byte. */
  readonly elements: number
  readonly compute: 'f32' | 'f64'
  readonly leaves: readonly Leaf[]
  readonly nodes: readonly Node[]
  readonly passes: readonly Pass[]
  /** Absent: nothing is written. */
  readonly output?: {
    /** Index into the run's output files. */
    readonly file: number
    readonly offset: number
    readonly dtype: OutputDtype | 'raw'
    /** 1 where raw. */
    readonly elementBytes: number
    readonly digest: boolean
  }
}

/** Stored elements that a program reads. */
export interface Leaf {
  /** Index into the run's input files. */
  readonly file: number
  readonly offset: number
  readonly bytes: number
  readonly dtype: FloatDtype | 'raw'
  /** 1 where raw. */
  readonly elementBytes: number
  /** The pass in which its bytes are digested, -1 where another program has that duty. */
  readonly digestIn: number
}

export type Node =
  | { readonly kind: 'read'; readonly leaf: number }
  | {
      readonly kind: 'merge'
      readonly kernel: MapKernel
      /** Indexes of nodes, all before this one. */
      readonly inputs: readonly number[]
      /** Index of a node, -1 for none. */
      readonly base: number
      /** Which of a task's coefficient lists is this node's. */
      readonly merge: number
    }

export type Pass =
  /** Adds up sums over the inputs of a node. */
  | { readonly kind: 'reduce'; readonly node: number; readonly kernel: ReduceKernel }
  /** Evaluates the last node and writes it. */
  | { readonly kind: 'write' }
  /** Only digests leaves. */
  | { readonly kind: 'digest' }

/** Tiles of one pass for one worker. */
export interface Task {
  readonly job: number
  /** Sent with the first task of a job that a worker gets. */
  readonly program?: Program
  readonly pass: number
  readonly firstTile: number
  readonly tiles: number
  /** By merge; empty where the sums it needs are not known yet. */
  readonly coefficients: readonly (readonly number[])[]
}

export interface TaskResult {
  readonly job: number
  readonly pass: number
  readonly firstTile: number
  readonly tiles: number
  /** `slots` sums a tile, tile after tile. */
  readonly sums?: Float64Array
  /** Leaf digests, 16 bytes each: of the leaves with `digestIn` this pass in order, then of the output. */
  readonly digests: Uint8Array
  readonly read: number
  readonly written: number
}
