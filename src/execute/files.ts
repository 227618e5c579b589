import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { Fault, fault } from '../core/diagnostics.js'
import { resourceFault } from '../core/resources.js'
import { writeFault } from '../core/system/attempt.js'
import { NOFOLLOW } from '../core/system/disk.js'

/** Opens files on first use, and closes the least recently used one if more than `most` are open. */
export function fileCache<T extends { readonly fd: number }>(
  open: (index: number) => T,
  most: number,
): {
  get: (index: number) => T
  drop: (indexes: readonly number[]) => void
  close: () => void
} {
  // A Map keeps the order of insertion: the first key is the least recently used one.
  const opened = new Map<number, T>()
  const closeOldest = (): void => {
    const [oldest, stale] = opened.entries().next().value!
    opened.delete(oldest)
    closeSync(stale.fd)
  }
  /** The limit of open files is shared with other threads: close files until one can be opened. */
  const openOne = (index: number): T => {
    for (;;) {
      try {
        return open(index)
      } catch (error) {
        if (!(error instanceof Fault && error.diagnostics[0]?.code === 'too-few-resources') || opened.size === 0)
          throw error
        closeOldest()
      }
    }
  }
  return {
    get(index) {
      const known = opened.get(index)
      const file = known ?? openOne(index)
      if (known && opened.size > 1) opened.delete(index)
      opened.set(index, file)
      if (opened.size > most) closeOldest()
      return file
    },
    drop(indexes) {
      for (const index of indexes) {
        const file = opened.get(index)
        opened.delete(index)
        if (file) closeSync(file.fd)
      }
    },
    close() {
      for (const { fd } of opened.values()) closeSync(fd)
      opened.clear()
    },
  }
}

/** Opens an input. Error: `input-changed` if the file has disappeared since planning. */
export function openInput(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    const gone = fault(
      'input-changed',
      `${path}: ${(error as Error).message}`,
      'run again when nothing writes to it',
      1,
    )
    throw resourceFault(error) ?? gone
  }
}

/** Opens a staged output, which exists already. Does not follow links. Error: `write-failed`. */
function openOutput(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | NOFOLLOW)
  } catch (error) {
    const failed = fault(
      'write-failed',
      `${path}: ${(error as Error).message}`,
      'check the output’s disk and run again',
      1,
    )
    throw resourceFault(error) ?? failed
  }
}

/** Writes all bytes, with as many system calls as needed. Error: `write-failed`. */
function writeFully(fd: number, bytes: Uint8Array, at: number, length: number, offset: number, path: string): void {
  let done = 0
  try {
    while (done < length) done += writeSync(fd, bytes, at + done, length - done, offset + done)
  } catch (error) {
    throw writeFault(path, error)
  }
}

/** Writes bytes of a memory to output files. Keeps a few of them open. */
export function fileWriter(
  bytes: Uint8Array,
  paths: readonly string[],
  openFiles: number,
): {
  readonly write: (file: number, address: number, length: number, offset: number) => void
  readonly release: (files: readonly number[]) => void
  readonly close: () => void
} {
  const files = fileCache((index) => ({ fd: openOutput(paths[index]!), path: paths[index]! }), openFiles)
  return {
    write(file, address, length, offset) {
      const { fd, path } = files.get(file)
      writeFully(fd, bytes, address, length, offset, path)
    },
    release: files.drop,
    close: files.close,
  }
}
