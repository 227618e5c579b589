/** A worker's memory and windows, without threads and files. */
import * as assert from 'uvu/assert'
import { WebAssembly } from '../../src/core/webassembly.js'
import type { WorkerContext } from '../../src/execute/worker/context.js'
import { openKeptRows } from '../../src/execute/worker/read/keptRows.js'
import { compileKernels, instantiateKernels } from '../../src/kernels/index.js'
import type { Slot, WindowFile } from '../../src/storage/local/window.js'
import { KEPT, partBytes } from '../../src/views/transposed.js'

export const SLOT = 2 ** 17
export const ROOM = 2 ** 18
/** Small, so that bands hold parts of matrices. */
export const BAND = 4096

export interface Look {
  readonly file: number
  readonly offset: number
  readonly bytes: number
}

/** Lines of a window that has so much room: what lies between them comes along. */
export const linesOf = (at: Slot['at'], room: number): Pick<Slot, 'lines' | 'linesWithin'> => ({
  lines: (file, offset, bytes, apart, count) => ({
    address: at(file, offset, (count - 1) * apart + bytes),
    stride: apart,
  }),
  linesWithin: (bytes, apart) => (bytes > room ? 0 : Math.floor((room - bytes) / apart) + 1),
})

/**
 * A worker whose files are arrays: what was looked at before is gone with each look. `bands`: those that it keeps for rows of transposed
 * matrices; without them, they are read as all else.
 */
export async function workerOn(files: () => readonly Uint8Array[], pages = 32, bands = 0) {
  const memory = new WebAssembly.Memory({ initial: pages + (bands > 0 ? KEPT / 2 ** 16 : 0) })
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
    ...linesOf((input, offset, bytes) => slot.at(input, offset, bytes), 2 ** 16),
  }
  const input = (file: number): WindowFile => {
    const known = inputs.get(file) ?? { fd: file, path: `${file}`, size: files()[file]!.length }
    inputs.set(file, known)
    return known
  }
  const kept = openKeptRows([slot], pages * 2 ** 16, KEPT)
  kept.begin({ counts: [bands], bytes: partBytes(bands, KEPT) })
  const context = (mode: 'map' | 'read', slotRoom: number) =>
    ({
      ...{ kernels, memory, windows: { mode }, slotRoom, input, scratchOwners: new Map() },
      ...{ last: {}, bandBytes: BAND, kept },
    }) as unknown as WorkerContext
  return { memory, slot, looks, context, forget: () => inputs.clear() }
}
