import type { WebAssembly } from '../../core/webassembly.js'
import { type Context, contextBytes, createContext } from '../../kernels/context.js'
import type { ChunkKernel, Kernels } from '../../kernels/types.js'
import type { Node, Program, TaskTable } from '../program.js'
import type { Arena } from './arena.js'

/** Room for coefficients: some an input, and a few of the whole tensor. What is longer goes into a table. */
const COEFFICIENTS = { perInput: 16, more: 64 }

/** A merge node's places in a worker's memory. */
export interface MergeState {
  readonly context: Context
  /** Indexes of nodes. */
  readonly inputs: readonly number[]
  /** -1 for none. */
  readonly base: number
  /** Where its values go. */
  readonly buffer: number
  /** Scratch space of its kernel. */
  readonly scratch: number
  readonly merge: number
  readonly kernel: ChunkKernel
  /** Inputs that the task under way needs: all, but those with a coefficient of 0 where the kernel can do without. */
  used: readonly number[]
  setTable(table: TaskTable | undefined): void
  /** The address of the table's entries of a row, or of the whole table; 0 without one. */
  tableAt(row: number): number
}

/** Numbers that a pass over a merge sums up at the most. Counts have half the width. */
export const mostSums = ({ passes }: Program): number =>
  passes.reduce((most, pass) => {
    if (pass.kind !== 'reduce') return most
    return Math.max(most, pass.combine === 'counts' ? Math.ceil(pass.slots / 2) : pass.slots)
  }, 0)

/** `sums`: where those are; a pass is over one merge, so that all of them share it. */
export function layMerge(
  program: Program,
  node: Node & { kind: 'merge' },
  kernels: Kernels,
  memory: WebAssembly.Memory,
  arena: Arena,
  bufferBytes: number,
  sums: number,
): MergeState {
  const size = {
    inputs: node.inputs.length,
    coefficients: COEFFICIENTS.perInput * node.inputs.length + COEFFICIENTS.more,
    sums: mostSums(program),
  }
  let table: TaskTable | undefined
  let address = 0
  let capacity = 0
  return {
    context: createContext(memory, arena.allocate(contextBytes({ ...size, sums: 0 })), size, sums),
    inputs: node.inputs,
    base: node.base,
    buffer: arena.allocate(bufferBytes),
    scratch: arena.allocate(node.scratch),
    merge: node.merge,
    kernel: kernels.map(node.kernel, program.compute),
    used: node.inputs,
    setTable(next) {
      table = next
      if (!next) return
      if (next.values.length > capacity) {
        capacity = next.values.length
        address = arena.allocate(8 * capacity)
      }
      new Float64Array(memory.buffer, address, next.values.length).set(next.values)
    },
    tableAt(row) {
      if (!table) return 0
      return table.firstRow < 0 ? address : address + 8 * table.slots * (row - table.firstRow)
    },
  }
}
