/** Changes of the file system that Windows makes differently. The platform is a parameter, so that tests can choose it. */
import { constants, fsync, type PathLike, type RmOptions, renameSync } from 'node:fs'
import { type FileHandle, lstat, open, rename, rm } from 'node:fs/promises'
import { promisify } from 'node:util'

/** Opens no link. Windows does not have this flag, and links require privileges there. */
export const NOFOLLOW: number = constants.O_NOFOLLOW ?? 0

/** Calls fsync for an open file. Not by a method of the handle, which Yarn's Plug and Play lacks. */
export const flushHandle = (handle: FileHandle): Promise<void> => promisify(fsync)(handle.fd)

/** Calls fsync for a file or folder. Windows has none for folders, and requires write access for files. */
export async function flush(where: string, platform = process.platform, openFile = open): Promise<void> {
  const isFolder = (await lstat(where)).isDirectory()
  if (isFolder && platform === 'win32') return
  const handle = await openFile(where, isFolder ? 'r' : 'r+')
  try {
    await flushHandle(handle)
  } finally {
    await handle.close()
  }
}

/** Milliseconds between attempts; about 4 seconds in all. */
const WAITS = [10, 20, 50, 100, 200, 400, 800, 1200, 1200]

/** Whether a virus scanner or an indexer may have the file open for a moment, which Windows reports as one of these errors. */
const isBusy = (error: unknown, platform: NodeJS.Platform): boolean =>
  platform === 'win32' && ['EPERM', 'EACCES', 'EBUSY'].includes((error as NodeJS.ErrnoException).code ?? '')

export interface Patience {
  readonly platform?: NodeJS.Platform
  /** Milliseconds between attempts. */
  readonly waits?: readonly number[]
}

/** Renames a file or folder. On Windows, tries again while another program has it open. */
export async function move(
  from: string,
  to: string,
  { platform = process.platform, waits = WAITS }: Patience = {},
  attempt: (from: string, to: string) => Promise<void> = rename,
): Promise<void> {
  for (const wait of waits) {
    try {
      return await attempt(from, to)
    } catch (error) {
      if (!isBusy(error, platform)) throw error
      await new Promise((resolve) => setTimeout(resolve, wait))
    }
  }
  return attempt(from, to)
}

/** The same, synchronous. */
export function moveSync(
  from: string,
  to: string,
  { platform = process.platform, waits = WAITS }: Patience = {},
  attempt: (from: string, to: string) => void = renameSync,
): void {
  for (const wait of waits) {
    try {
      attempt(from, to)
      return
    } catch (error) {
      if (!isBusy(error, platform)) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, wait)
    }
  }
  attempt(from, to)
}

/** Removes a file or folder with everything in it, if it exists. On Windows, tries again while another program has it open. */
export const removeTree = (
  where: string,
  platform = process.platform,
  remove: (where: PathLike, options: RmOptions) => Promise<void> = rm,
): Promise<void> =>
  // Each wait is longer by the delay than the one before.
  remove(where, { recursive: true, force: true, ...(platform === 'win32' ? { maxRetries: 10, retryDelay: 50 } : {}) })
