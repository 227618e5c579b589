import type { FileHandle } from 'node:fs/promises'
import { openRegular } from '../storage/local/regular.js'
import type { Checkpoint, StoredTensor } from './types.js'

/** Bytes of each tensor that are compared. Smaller tensors are compared whole, larger ones in evenly spread pieces. */
const COMPARED = 2 ** 22
const PIECE = 2 ** 16

/**
 * Whether two tensors of equal dtype and shape have equal elements, judged by a sample; undefined if one of them is not local.
 * A sample is enough: different tensors of trained weights differ everywhere.
 */
export async function sameContent(
  a: readonly [Checkpoint, StoredTensor],
  b: readonly [Checkpoint, StoredTensor],
): Promise<boolean | undefined> {
  if (a[1].bytes !== b[1].bytes) return false
  const handles: FileHandle[] = []
  try {
    for (const [{ files }, { file }] of [a, b]) {
      const opened = await openRegular(files[file]!.path).catch(() => undefined)
      if (!opened) return undefined
      handles.push(opened.handle)
      if (opened.size !== files[file]!.size) return undefined
    }
    const { bytes } = a[1]
    const pieces = Math.ceil(Math.min(bytes, COMPARED) / PIECE)
    for (let piece = 0; piece < pieces; piece++) {
      const length = Math.min(PIECE, bytes)
      const from = pieces === 1 ? 0 : Math.floor(((bytes - length) * piece) / (pieces - 1))
      const [first, second] = await Promise.all([
        readAt(handles[0]!, a[1].offset + from, length),
        readAt(handles[1]!, b[1].offset + from, length),
      ])
      if (!first || !second || !first.equals(second)) return first && second ? false : undefined
    }
    return true
  } finally {
    for (const handle of handles) await handle.close()
  }
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer | undefined> {
  const buffer = Buffer.alloc(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(buffer, done, length - done, position + done)
    if (bytesRead === 0) return undefined
    done += bytesRead
  }
  return buffer
}
