import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { NOFOLLOW } from '../checkpoints/workFolder.js'
import { fault } from '../core/diagnostics.js'

/** Files that stay open in a worker at once: far below the usual limit of 1024 a process, for several workers. */
const OPEN_FILES = 64

/** Opens files when they are first asked for, and closes the one unused for longest when there are too many. */
export function fileCache<T extends { readonly fd: number }>(
  open: (index: number) => T,
): {
  get: (index: number) => T
  close: () => void
} {
  // A Map keeps the order of insertion: the first key is the one unused for longest.
  const opened = new Map<number, T>()
  return {
    get(index) {
      const known = opened.get(index)
      const file = known ?? open(index)
      if (known && opened.size > 1) opened.delete(index)
      opened.set(index, file)
      if (opened.size > OPEN_FILES) {
        const [oldest, stale] = opened.entries().next().value!
        opened.delete(oldest)
        closeSync(stale.fd)
      }
      return file
    },
    close() {
      for (const { fd } of opened.values()) closeSync(fd)
      opened.clear()
    },
  }
}

/** A file to be read; gone since it was planned is a fault of the run, not of terge. */
export function openInput(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw fault('input-changed', `${path}: ${(error as Error).message}`, 'run again when nothing writes to it', 1)
  }
}

/** A staged output, which was made before; no link in its place is followed. */
export function openOutput(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | NOFOLLOW)
  } catch (error) {
    throw fault('write-failed', `${path}: ${(error as Error).message}`, 'check the disk of the output and run again', 1)
  }
}

/** Writes all of it, however short the system's writes are. */
export function writeFully(
  fd: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  offset: number,
  path: string,
): void {
  let done = 0
  try {
    while (done < length) done += writeSync(fd, bytes, at + done, length - done, offset + done)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const hint = code === 'ENOSPC' ? 'free space on the disk of the output and run again' : undefined
    throw fault('write-failed', `${path}: ${message}`, hint, 1)
  }
}
