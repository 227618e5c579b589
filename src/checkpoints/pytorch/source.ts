/** Where a PyTorch file's bytes come from: a file on disk, or bytes in memory. Only headers are read through it. */
import type { FileHandle } from 'node:fs/promises'
import { type Fault, fault } from '../../core/diagnostics.js'

export interface ByteSource {
  /** For messages. */
  readonly name: string
  readonly size: number
  /** Exactly `length` bytes from `offset` on. Callers have checked both against `size`. */
  read(offset: number, length: number): Promise<Uint8Array>
}

/** What to do about a file that is not what PyTorch writes. */
export const DAMAGED =
  'the file is damaged or was not written completely: fetch it again, or save it again with torch.save'
export const HARMFUL = 'no real model needs that: the file is damaged or made to do harm'

export function fileSource(handle: FileHandle, size: number, name: string): ByteSource {
  return {
    name,
    size,
    async read(offset, length) {
      const bytes = new Uint8Array(length)
      for (let done = 0; done < length; ) {
        const { bytesRead } = await handle.read(bytes, done, length - done, offset + done)
        if (bytesRead === 0) throw shortened(name)
        done += bytesRead
      }
      return bytes
    },
  }
}

export const memorySource = (bytes: Uint8Array, name: string): ByteSource => ({
  name,
  size: bytes.byteLength,
  read: async (offset, length) => {
    if (offset < 0 || length < 0 || offset + length > bytes.byteLength)
      throw new Error(`internal: read of ${length} bytes at ${offset} of ${bytes.byteLength}`)
    return bytes.subarray(offset, offset + length)
  },
})

const shortened = (name: string): Fault =>
  fault(
    'file-incomplete',
    `${name}: the file became shorter while it was read`,
    'something else writes to it: wait for that to end',
  )
