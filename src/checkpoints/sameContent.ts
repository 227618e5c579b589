import type { FileHandle } from 'node:fs/promises'
import { openRegular } from '../storage/local/regular.js'
import { storedOf } from '../views/stored.js'
import type { StoredView } from '../views/types.js'
import type { Checkpoint, LogicalTensor } from './types.js'

/** Bytes of each tensor that are compared. Smaller tensors are compared whole, larger ones in evenly spread pieces. */
const COMPARED = 2 ** 22
const PIECE = 2 ** 16

/**
 * Whether two tensors of equal dtype and shape have equal elements, judged by a sample; undefined if one of them is not local, or
 * if they are stored in different parts. A sample is enough: different tensors of trained weights differ everywhere.
 */
export async function sameContent(
  a: readonly [Checkpoint, LogicalTensor],
  b: readonly [Checkpoint, LogicalTensor],
): Promise<boolean | undefined> {
  const [own, other] = [storedOf(a[1].view), storedOf(b[1].view)]
  const alike = own.every(({ shape }, part) => sameShape(shape, other[part]?.shape))
  if (a[1].view.kind !== b[1].view.kind || own.length !== other.length || !alike) return undefined
  for (const [index, part] of own.entries()) {
    const same = await samePart([a[0], part], [b[0], other[index]!])
    if (!same) return same
  }
  return true
}

const sameShape = (one: readonly number[], other: readonly number[] | undefined): boolean =>
  one.length === other?.length && one.every((size, axis) => size === other[axis])

async function samePart(
  a: readonly [Checkpoint, StoredView],
  b: readonly [Checkpoint, StoredView],
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
