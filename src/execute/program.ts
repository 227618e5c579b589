import type { OutputDtype, WrittenDtype } from '../core/dtypes.js'
import type { HeldWork } from '../kernels/held/types.js'
import type { MapKernel, ReduceKernel } from '../kernels/types.js'
import type { Source } from '../views/readers.js'

/**
 * What a worker needs to know about one output tensor: nodes in the order of evaluation, and passes over all tiles.
 * Plain data. Coefficients come with each task, because those of later passes depend on sums of earlier ones.
 */
export interface Program {
  /** Elements of the output, and of leaves and nodes without their own number. If bytes are only copied or digested (`raw`), an element is a byte. */
  readonly elements: number
  readonly compute: 'f32' | 'f64'
  /** Elements per row if a pass or a node works on whole rows, else 0. */
  readonly rowLength: number
  readonly leaves: readonly Leaf[]
  readonly nodes: readonly Node[]
  readonly passes: readonly Pass[]
  /** Work on whole matrices, and the bytes of the team's memory that it needs. */
  readonly held?: { readonly works: readonly Held[]; readonly bytes: number }
  /** Absent if nothing is written. */
  readonly output?: {
    /** Where its elements are written, in separate parts. */
    readonly places: readonly OutputPlace[]
    readonly dtype: WrittenDtype | 'raw'
    /** 1 if raw. */
    readonly elementBytes: number
    readonly digest: boolean
  }
}

/** `count` elements from element `from`, contiguous from `offset`. */
export interface OutputPlace {
  /** Index into the run's output files. */
  readonly file: number
  readonly offset: number
  readonly from: number
  readonly count: number
}

/** Input elements of a program. */
export interface Leaf extends Source {
  /** The number of elements, if it differs from the program's. */
  readonly elements?: number
  /** The pass that digests its bytes; -1 if no pass does. Digests of stored tensors need a contiguous reader. */
  readonly digestIn: number
  /** Bytes in files per element, if they are not those of an element. */
  readonly storedBytes?: number
}

export type Node =
  | { readonly kind: 'read'; readonly leaf: number }
  | LoraNode
  | {
      readonly kind: 'merge'
      readonly kernel: MapKernel
      /** Indexes of earlier nodes. */
      readonly inputs: readonly number[]
      /** Index of a node, -1 for none. */
      readonly base: number
      /** Index of this node's list of coefficients in a task. */
      readonly merge: number
      /** Whether the kernel gets whole rows. */
      readonly rows: boolean
      /** Bytes of the kernel's scratch space. */
      readonly scratch: number
      /** Its number of elements, if it differs from the program's. */
      readonly elements?: number
    }
  /** A node's values, rounded to a dtype and converted back. */
  | { readonly kind: 'round'; readonly of: number; readonly dtype: OutputDtype }
  /** The first elements of one node, followed by the others of another node. */
  | { readonly kind: 'join'; readonly first: number; readonly rest: number; readonly elements: number }

/** Elements that a factor is read from. */
interface Lines {
  readonly source: Source
  /** The leaf whose slot it uses. */
  readonly leaf: number
}

/** A factor of an adapter's update. */
export interface Factor extends Lines {
  readonly times?: Lines
  readonly core?: Lines & { readonly inner: number; readonly kernel: number; readonly rank: number }
  /** See `LoraFactor`. */
  readonly byRank: boolean
  /** Rows of the left factor, columns of the right factor. */
  readonly count: number
  /** If they are permuted: element i is element map[i] of the stored factor. */
  readonly map?: Int32Array
  /** If matrices are permuted: matrix i has the factor of matrix matrixMap[i]. */
  readonly matrixMap?: Int32Array
}

/** See `LoraExpr`. */
export interface LoraNode {
  readonly kind: 'lora'
  /** Index of a leaf: W. -1 for the update alone. */
  readonly base: number
  /** Its number of elements, if it differs from the program's. */
  readonly elements?: number
  /** Rows per right factor, if there are several. */
  readonly height?: number
  readonly columns: number
  readonly rank: number
  readonly scale: number
  readonly left?: Factor
  readonly right: Factor
}

export type Pass =
  /** Reduces the inputs of a node to numbers: see `ReducePass` in methods/types.ts. */
  | {
      readonly kind: 'reduce'
      readonly node: number
      readonly kernel: ReduceKernel
      readonly slots: number
      readonly combine: 'sums' | 'tiles' | 'counts' | 'rows'
      /** Whether the kernel gets whole rows. */
      readonly rows: boolean
    }
  /** Fills a matrix in the team's memory, at address `at`: see `Fill` in kernels/held/types.ts. Inputs are nodes. */
  | {
      readonly kind: 'fill'
      readonly terms: readonly { readonly node: number; readonly factor: number }[]
      /** -1 for none. */
      readonly base: number
      readonly elements: number
      /** The first element in the tensor, if it is not 0. */
      readonly first?: number
      readonly at: number
      readonly narrow: boolean
    }
  /** A stage of work on whole matrices: one task for all threads together. */
  | { readonly kind: 'solve'; readonly work: number; readonly stage: number }
  /** Evaluates the last node and writes it. */
  | { readonly kind: 'write' }
  /** Only digests leaves. */
  | { readonly kind: 'digest' }

/** The number of elements that a pass reads. */
export function passElements(pass: Pass, nodes: readonly Node[], all: number): number {
  if (pass.kind === 'fill') return pass.elements
  const node = pass.kind === 'reduce' ? nodes[pass.node] : undefined
  return node?.kind === 'merge' ? (node.elements ?? all) : all
}

export interface Held {
  readonly work: HeldWork
  /** Addresses of its matrices, and of the team's scratch space. */
  readonly origin: number
  readonly own: number
}

/** Tiles of one pass of a program. */
export interface Work {
  readonly program: Program
  readonly pass: number
  readonly firstTile: number
  readonly tiles: number
  /** By merge; empty if the results that it needs are not known yet. */
  readonly coefficients: readonly (readonly number[])[]
  /** Table by merge, if its kernel has one: for the task's rows, or for the whole tensor. */
  readonly tables?: readonly (TaskTable | undefined)[]
}

/** A task as a worker receives it. */
export interface Task extends Omit<Work, 'program'> {
  /** The number of its program. */
  readonly job: number
  /** Sent with the first task of a program. */
  readonly program?: Program
}

/** Numbers that are too many for coefficients. */
export interface TaskTable {
  /** The first row of `values` in a table by rows; -1 for a table of the whole tensor. */
  readonly firstRow: number
  readonly slots: number
  readonly values: Float64Array
}

export interface TaskResult {
  readonly job: number
  readonly pass: number
  readonly firstTile: number
  readonly tiles: number
  /** `slots` numbers per tile, in order; for a pass by rows, `slots` numbers per row that begins in the task's tiles. */
  readonly sums?: Float64Array
  /** Counts over all tiles of the task. */
  readonly counts?: Uint32Array
  /** Leaf digests of 16 bytes: for the leaves with `digestIn` equal to this pass, in order, then for the output. */
  readonly digests: Uint8Array
  /** Number of results that are not finite although all inputs are. */
  readonly nonFinite?: number
  /** What a stage did where the method's formula is not defined. */
  readonly note?: string
  readonly read: number
  readonly written: number
}
