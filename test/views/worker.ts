/** A worker's memory and windows, without threads and files. */
import * as assert from 'uvu/assert'
import { WebAssembly } from '../../src/core/webassembly.js'
import type { WorkerContext } from '../../src/execute/worker/context.js'
import { compileKernels, instantiateKernels } from '../../src/kernels/index.js'
import type { Slot, WindowFile } from '../../src/storage/local/window.js'

export const SLOT = 2 ** 17
export const ROOM = 2 ** 18
/** Small, so that bands hold parts of matrices. */
export const BAND = 4096

export interface Look {
  readonly file: number
  readonly offset: number
  readonly bytes: number
}

/** A worker whose files are arrays: what was looked at before is gone with each look. */
export async function workerOn(files: () => readonly Uint8Array[], pages = 32) {
  const memory = new WebAssembly.Memory({ initial: pages })
  const kernels = instantiateKernels(await compileKernels(), memory)
  const looks: Look[] = []
  const inputs = new Map<number, WindowFile>()
  const slot: Slot = {
    at(input, offset, bytes) {
      const file = input.fd
      assert.ok(
        offset >= 0 && bytes >= 0 && offset + bytes <= files()[file]!.length,
        `${bytes} at ${offset} of ${files()[file]!.length}`,
      )
      looks.push({ file, offset, bytes })
      const target = new Uint8Array(memory.buffer, SLOT, 2 ** 16)
      target.fill(0xee)
      target.set(files()[file]!.subarray(offset, offset + bytes))
      return SLOT
    },
  }
  const input = (file: number): WindowFile => {
    const known = inputs.get(file) ?? { fd: file, path: `${file}`, size: files()[file]!.length }
    inputs.set(file, known)
    return known
  }
  const context = (mode: 'map' | 'read', slotRoom: number) =>
    ({
      ...{ kernels, memory, windows: { mode }, slotRoom, input, scratchOwners: new Map() },
      ...{ last: {}, bandBytes: BAND },
    }) as unknown as WorkerContext
  return { memory, slot, looks, context, forget: () => inputs.clear() }
}
