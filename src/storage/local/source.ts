import type { FileHandle } from 'node:fs/promises'
import { type Fault, fault } from '../../core/diagnostics.js'
import type { ByteSource } from '../types.js'

/** An open file of `size` bytes. Error: `file-incomplete` where it has fewer by now. */
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

const shortened = (name: string): Fault =>
  fault(
    'file-incomplete',
    `${name}: the file became shorter while it was read`,
    'something else writes to it: wait for that to end',
  )
