/** Files without a name: they are gone when they are closed, whatever happens to the process. */
import { closeSync, constants, ftruncateSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../core/diagnostics.js'
import { formatSize } from '../core/sizes.js'
import { isDiskFull, writeFault } from '../core/system/attempt.js'
import { NOFOLLOW } from '../core/system/disk.js'

/** Its name in a work folder, for the moment until it has none: `local/workFolder.ts` knows it. */
const nameOf = (): string => `scratch.${process.pid}`

const { O_RDWR, O_CREAT, O_EXCL } = constants

export interface Nameless {
  readonly fd: number
  close(): void
}

const ROOM_HINT =
  'free some space, choose another disk for the output, or raise --memory: with enough memory, no disk is needed'

/** Opens a file of so many bytes in a work folder. Errors: `disk-full`, `write-failed`. */
export async function openNameless(folder: string, bytes: number, what: string): Promise<Nameless> {
  const disk = await statfs(folder).catch(() => undefined)
  const left = disk && disk.blocks > 0 ? disk.bavail * disk.bsize : Number.POSITIVE_INFINITY
  if (left < bytes)
    throw fault(
      'disk-full',
      `${what} needs ${formatSize(bytes)} of disk, and the disk of ${folder} has ${formatSize(left)} left`,
      ROOM_HINT,
    )
  const file = path.join(folder, nameOf())
  try {
    // Of a process that was killed in that moment.
    rmSync(file, { force: true })
    const fd = openSync(file, O_RDWR | O_CREAT | O_EXCL | NOFOLLOW, 0o600)
    const close = () => {
      closeSync(fd)
      rmSync(file, { force: true })
    }
    try {
      rmSync(file, { force: true })
      ftruncateSync(fd, bytes)
    } catch (error) {
      close()
      throw error
    }
    return { fd, close }
  } catch (error) {
    throw writeFault(file, error)
  }
}

/**
 * Does work whose files without a name are in a folder. Their blocks come when they are written, by whatever thread: the disk can be full
 * by then. Error: `disk-full`.
 */
export async function whileRoom<T>(folder: string, what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!isDiskFull(error)) throw error
    throw fault('disk-full', `${what}: the disk of ${folder} is full: ${(error as Error).message}`, ROOM_HINT, 1)
  }
}

type Transfer = (fd: number, bytes: Uint8Array, from: number, length: number, position: number) => number

/** The system may do a part at a time. */
function whole(fd: number, array: ArrayBufferView, position: number, once: Transfer): void {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
  for (let done = 0; done < bytes.length; ) {
    const some = once(fd, bytes, done, bytes.length - done, position + done)
    if (some === 0) throw new Error('internal: a file without a name is too short')
    done += some
  }
}

/** Any thread of the process can read and write what one has opened. */
export const readAt = (fd: number, into: ArrayBufferView, position: number): void =>
  whole(fd, into, position, (...transfer) => readSync(...transfer))

export const writeAt = (fd: number, from: ArrayBufferView, position: number): void =>
  whole(fd, from, position, (...transfer) => writeSync(...transfer))
