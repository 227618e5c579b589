import type { FileHandle } from 'node:fs/promises'
import { type Fault, fault } from '../../core/diagnostics.js'
import type { ByteSource } from '../types.js'

/** An open file of `size` bytes. Error while reading: `file-incomplete` if it has become shorter. */
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
    'another process writes to it: run again when that has finished',
  )
