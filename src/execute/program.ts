import type { OutputDtype } from '../core/dtypes.js'
import type { HeldWork } from '../kernels/held/types.js'
import type { MapKernel, ReduceKernel } from '../kernels/types.js'
import type { Source } from '../views/readers.js'

/**
 * What a worker gets to know of one output tensor: nodes in the order they are evaluated, and passes over all tiles.
 * Plain data; coefficients come with each task, since later passes' depend on the sums of earlier ones.
 */
export interface Program {
  /** Of the output, and of leaves and nodes that say nothing else; where bytes are only copied or digested (`raw`), an element is a byte. */
  readonly elements: number
  readonly compute: 'f32' | 'f64'
  /** Elements a row where a pass or a node works on whole rows, else 0. */
  readonly rowLength: number
  readonly leaves: readonly Leaf[]
  readonly nodes: readonly Node[]
  readonly passes: readonly Pass[]
  /** Work on whole matrices, and how many bytes of the team's memory all of it takes. */
  readonly held?: { readonly works: readonly Held[]; readonly bytes: number }
  /** Absent: nothing is written. */
  readonly output?: {
    /** Where its elements go, in parts that lie apart. */
    readonly places: readonly OutputPlace[]
    readonly dtype: OutputDtype | 'raw'
    /** 1 where raw. */
    readonly elementBytes: number
    readonly digest: boolean
  }
}

/** `count` elements from element `from` on, one after the other from `offset` on. */
export interface OutputPlace {
  /** Index into the run's output files. */
  readonly file: number
  readonly offset: number
  readonly from: number
  readonly count: number
}

/** Elements that a program reads. */
export interface Leaf extends Source {
  /** How many there are, where the program has another number of them. */
  readonly elements?: number
  /** The pass in which its bytes are digested, -1 where another program has that duty. Only of what lies in a file as it is. */
  readonly digestIn: number
}

export type Node =
  | { readonly kind: 'read'; readonly leaf: number }
  | LoraNode
  | {
      readonly kind: 'merge'
      readonly kernel: MapKernel
      /** Indexes of nodes, all before this one. */
      readonly inputs: readonly number[]
      /** Index of a node, -1 for none. */
      readonly base: number
      /** Which of a task's coefficient lists is this node's. */
      readonly merge: number
      /** The kernel is given whole rows. */
      readonly rows: boolean
      /** Bytes of the kernel's scratch space. */
      readonly scratch: number
      /** How many it makes, where the program has another number of them. */
      readonly elements?: number
    }
  /** A node's values, rounded to a dtype and back. */
  | { readonly kind: 'round'; readonly of: number; readonly dtype: OutputDtype }
  /** The first so many elements of one node, and those behind them of another. */
  | { readonly kind: 'join'; readonly first: number; readonly rest: number; readonly elements: number }

/** A factor of an adapter's update. */
export interface Factor {
  readonly source: Source
  /** The leaf whose slot shows it. */
  readonly leaf: number
  /** As in `LoraFactor`. */
  readonly byRank: boolean
  /** Rows of the left one, columns of the right one. */
  readonly count: number
  /** Where they are read through a permutation: place i is place map[i] of the stored one. */
  readonly map?: Int32Array
}

/** As `LoraExpr` in plan/types.ts. */
export interface LoraNode {
  readonly kind: 'lora'
  /** Index of a leaf: W. */
  readonly base: number
  readonly columns: number
  readonly rank: number
  readonly scale: number
  readonly left?: Factor
  readonly right: Factor
}

export type Pass =
  /** Boils the inputs of a node down to numbers; `ReducePass` in methods/types.ts says what they are. */
  | {
      readonly kind: 'reduce'
      readonly node: number
      readonly kernel: ReduceKernel
      readonly slots: number
      readonly combine: 'sums' | 'tiles' | 'counts' | 'rows'
      /** The kernel is given whole rows. */
      readonly rows: boolean
    }
  /** Fills a matrix in the team's memory, at address `at`: as `Fill` in kernels/held/types.ts, inputs being nodes. */
  | {
      readonly kind: 'fill'
      readonly terms: readonly { readonly node: number; readonly factor: number }[]
      /** -1 for none. */
      readonly base: number
      readonly elements: number
      /** Of the tensor, where it is not its first. */
      readonly first?: number
      readonly at: number
      readonly narrow: boolean
    }
  /** A stage of held work: one task, done by all threads together. */
  | { readonly kind: 'solve'; readonly work: number; readonly stage: number }
  /** Evaluates the last node and writes it. */
  | { readonly kind: 'write' }
  /** Only digests leaves. */
  | { readonly kind: 'digest' }

/** How many elements a pass goes over. */
export function passElements(pass: Pass, nodes: readonly Node[], all: number): number {
  if (pass.kind === 'fill') return pass.elements
  const node = pass.kind === 'reduce' ? nodes[pass.node] : undefined
  return node?.kind === 'merge' ? (node.elements ?? all) : all
}

export interface Held {
  readonly work: HeldWork
  /** Addresses of its matrices, and of the team's own rooms. */
  readonly origin: number
  readonly own: number
}

/** Tiles of one pass of a program. */
export interface Work {
  readonly program: Program
  readonly pass: number
  readonly firstTile: number
  readonly tiles: number
  /** By merge; empty where the results it needs are not known yet. */
  readonly coefficients: readonly (readonly number[])[]
  /** By merge, where its kernel has one: of the task's rows, or of the whole tensor. */
  readonly tables?: readonly (TaskTable | undefined)[]
}

/** The same as a worker gets it. */
export interface Task extends Omit<Work, 'program'> {
  /** The number of its program. */
  readonly job: number
  /** Sent with the first task of a program that a worker gets. */
  readonly program?: Program
}

/** More numbers than coefficients can be. */
export interface TaskTable {
  /** The first row that `values` are of, in a table by rows; -1 for one of the whole tensor. */
  readonly firstRow: number
  readonly slots: number
  readonly values: Float64Array
}

export interface TaskResult {
  readonly job: number
  readonly pass: number
  readonly firstTile: number
  readonly tiles: number
  /** `slots` numbers a tile, tile after tile; of a pass by rows, `slots` a row that begins in the task's tiles. */
  readonly sums?: Float64Array
  /** Of all the task's tiles together. */
  readonly counts?: Uint32Array
  /** Leaf digests, 16 bytes each: of the leaves with `digestIn` this pass in order, then of the output. */
  readonly digests: Uint8Array
  /** Results that are not finite where all inputs are. */
  readonly nonFinite?: number
  /** What a stage of held work did where its rule says nothing. */
  readonly note?: string
  readonly read: number
  readonly written: number
}
