import type { WebAssembly } from '../../core/webassembly.js'
import { DIGEST_BYTES, type Kernels, LEAF, TILE } from '../../kernels/types.js'
import type { Program, Task } from '../program.js'
import type { Arena } from './arena.js'

/** Leaf digests of a task: for each leaf that its pass digests, then for the output. */
export interface TaskDigests {
  readonly bytes: Uint8Array
  /** Digests bytes that follow those of the last call with this key: a leaf's index, -1 for the output. */
  add(key: number, address: number, length: number): void
}

/** Leaves of a tile of the widest dtype. */
const MOST_LEAVES = (TILE * 8) / LEAF

export function digester(
  kernels: Kernels,
  memory: WebAssembly.Memory,
  arena: Arena,
): (program: Program, task: Task, elements: number) => TaskDigests {
  const scratch = arena.allocate(DIGEST_BYTES * MOST_LEAVES)
  return (program, task, elements) => {
    const cursors = new Map<number, number>()
    let size = 0
    const reserve = (key: number, elementBytes: number) => {
      cursors.set(key, size)
      size += DIGEST_BYTES * Math.ceil((elements * elementBytes) / LEAF)
    }
    for (const [index, leaf] of program.leaves.entries()) {
      if (leaf.digestIn === task.pass) reserve(index, leaf.elementBytes)
    }
    if (program.output?.digest && program.passes[task.pass]!.kind === 'write') reserve(-1, program.output.elementBytes)
    const bytes = new Uint8Array(size)
    return {
      bytes,
      add(key, address, length) {
        kernels.leaves(address, length, LEAF, scratch)
        const at = cursors.get(key)!
        const count = DIGEST_BYTES * Math.ceil(length / LEAF)
        bytes.set(new Uint8Array(memory.buffer, scratch, count), at)
        cursors.set(key, at + count)
      },
    }
  }
}
