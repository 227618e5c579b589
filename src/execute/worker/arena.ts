/** Scratch space in a worker's memory for one program: aligned to 16 bytes, never freed. */
import type { WebAssembly } from '../../core/webassembly.js'
export interface Arena {
  readonly allocate: (bytes: number) => number
}

/** Throws if a program needs more space: the plan's budget should have refused it. */
export function createArena(
  memory: WebAssembly.Memory,
  { start, bytes }: { readonly start: number; readonly bytes: number },
): Arena {
  let next = Math.ceil(start / 16) * 16
  const end = Math.min(start + bytes, memory.buffer.byteLength)
  return {
    allocate(size) {
      const address = next
      next += Math.ceil(size / 16) * 16
      if (next > end) throw new Error(`internal: scratch space of ${bytes} bytes is too small`)
      return address
    },
  }
}
