/**
 * Reads whole small files: only regular files of limited size, without waiting for pipes, and to the end. Model folders are not
 * trusted: links are followed only inside the folder, and from a snapshot in a cache to its blobs.
 */
import { Buffer } from 'node:buffer'
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs'
import { type FileHandle, lstat, open, realpath } from 'node:fs/promises'
import path from 'node:path'
import { type ExitCode, type Fault, fault } from '../../core/diagnostics.js'

/** `link`: leads out of the folder, or nowhere. `kind`: a folder, pipe or device. `short`: has fewer bytes than its size says. */
type ProblemKind = 'missing' | 'link' | 'kind' | 'size' | 'short' | 'system'

/** Why a file is not read. The message continues after the file's name. */
export class FileProblem extends Error {
  constructor(
    readonly kind: ProblemKind,
    message: string,
    /** The system's error code. */
    readonly code?: string,
  ) {
    super(message)
  }
}

/** Where links in a model's folder may lead. */
export interface Bounds {
  /** The folder, with links resolved. */
  readonly root: string
  /** For a snapshot in a cache: the folder that its links lead to. */
  readonly blobs?: string
}

export interface ReadOptions {
  /** Maximum size in bytes. */
  readonly most: number
  /** For a file in a model's folder. A file that the user named can be a link to anywhere. */
  readonly within?: Bounds | undefined
}

/** `…/models--org--name/snapshots/COMMIT`, or a folder inside of it. */
const SNAPSHOT = /^(.*[\\/](?:models|datasets|spaces|s3)--[^\\/]+)[\\/]snapshots[\\/][^\\/]+(?:[\\/].*)?$/

export async function boundsOf(folder: string): Promise<Bounds> {
  const root = await realpath(folder)
  const repository = SNAPSHOT.exec(root)?.[1]
  return repository === undefined ? { root } : { root, blobs: path.join(repository, 'blobs') }
}

/** Resolves links. Throws `FileProblem` if a link leads out of its folder, or nowhere. */
async function resolveWithin({ root, blobs }: Bounds, file: string): Promise<string> {
  const real = await realpath(file).catch(async (error: NodeJS.ErrnoException) => {
    const link = await lstat(file).catch(() => undefined)
    if (link?.isSymbolicLink()) throw new FileProblem('link', 'is a link to a file that does not exist', error.code)
    throw systemProblem(error)
  })
  const inside = (folder: string): boolean => real.startsWith(`${folder.replace(/[\\/]$/, '')}${path.sep}`)
  if (inside(root) || (blobs !== undefined && path.dirname(real) === blobs)) return real
  throw new FileProblem('link', "is a link that leads out of the model's folder")
}

// Without O_NONBLOCK, opening a pipe waits for its writer.
export const READ = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0)

/** Opens a regular file. Throws `FileProblem`. */
export async function openRegular(
  file: string,
  within?: Bounds,
): Promise<{ readonly handle: FileHandle; readonly size: number }> {
  const real = within ? await resolveWithin(within, file) : file
  const flags = within ? READ | (constants.O_NOFOLLOW ?? 0) : READ
  const handle = await openPatiently(real, flags)
  try {
    const entry = await handle.stat()
    if (!entry.isFile()) throw new FileProblem('kind', `is ${kindOf(entry)}, not a regular file`)
    return { handle, size: entry.size }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Milliseconds between attempts to open a file while the process has no free descriptor; about a second in all. */
const WAITS = [5, 10, 20, 40, 80, 160, 320, 400]

/** Starting threads and loading modules take descriptors for a moment, which matters under a low `ulimit -n`. Throws `FileProblem`. */
async function openPatiently(file: string, flags: number): Promise<FileHandle> {
  for (const wait of WAITS) {
    try {
      return await open(file, flags)
    } catch (thrown) {
      const error = thrown as NodeJS.ErrnoException
      if (!/^E[MN]FILE$/.test(error.code ?? '')) throw systemProblem(error)
      await new Promise((resolve) => setTimeout(resolve, wait))
    }
  }
  return open(file, flags).catch((error: NodeJS.ErrnoException) => {
    throw systemProblem(error)
  })
}

/** Reads a whole regular file of at most `most` bytes. Throws `FileProblem`. */
export async function readRegular(file: string, { most, within }: ReadOptions): Promise<Buffer> {
  const { handle, size } = await openRegular(file, within)
  try {
    if (size > most) throw tooLarge(size, most)
    return await readFully(handle, size)
  } finally {
    await handle.close()
  }
}

/** Reads exactly `size` bytes from the start of a file. The system may return fewer at a time. Throws `FileProblem`. */
async function readFully(handle: FileHandle, size: number): Promise<Buffer> {
  const bytes = Buffer.alloc(size)
  for (let done = 0; done < size; ) {
    const { bytesRead } = await handle.read(bytes, done, size - done, done).catch((error: NodeJS.ErrnoException) => {
      throw systemProblem(error)
    })
    if (bytesRead === 0) throw tooShort(size, done)
    done += bytesRead
  }
  return bytes
}

/** Like `readRegular`, but synchronous. With `pipes`, also reads pipes from the shell (`<(command)`, `/dev/stdin`) to their end. */
export function readRegularSync(file: string, most: number, { pipes = false } = {}): Buffer {
  const handed = pipes && /^\/(dev\/(fd\/\d+|stdin)|proc\/self\/fd\/\d+)$/.test(file)
  let handle: number
  try {
    handle = openSync(file, handed ? constants.O_RDONLY : READ)
  } catch (error) {
    throw systemProblem(error as NodeJS.ErrnoException)
  }
  try {
    const entry = fstatSync(handle)
    if (entry.isFile()) {
      if (entry.size > most) throw tooLarge(entry.size, most)
      const bytes = Buffer.alloc(entry.size)
      const done = fillSync(handle, bytes, 0)
      if (done < bytes.length) throw tooShort(bytes.length, done)
      return bytes
    }
    if (!handed)
      throw new FileProblem(
        'kind',
        `is ${kindOf(entry)}, not a regular file`,
        entry.isDirectory() ? 'EISDIR' : undefined,
      )
    const bytes = Buffer.alloc(most + 1)
    const done = fillSync(handle, bytes, null)
    if (done > most) throw tooLarge(done, most)
    return bytes.subarray(0, done)
  } finally {
    closeSync(handle)
  }
}

/** Fills a buffer from a position in a file, or from the current position of a pipe. Returns fewer bytes only at the end. */
export function fillSync(handle: number, bytes: Uint8Array, position: number | null): number {
  let done = 0
  try {
    while (done < bytes.length) {
      const got = readSync(handle, bytes, done, bytes.length - done, position === null ? null : position + done)
      if (got === 0) break
      done += got
    }
  } catch (error) {
    throw systemProblem(error as NodeJS.ErrnoException)
  }
  return done
}

const tooLarge = (size: number, most: number) =>
  new FileProblem('size', `has ${size} bytes, but terge reads at most ${most}`)

const tooShort = (size: number, done: number) =>
  new FileProblem(
    'short',
    `ends after ${done} of ${size} bytes: another process writes to it, or its file system fails`,
  )

function systemProblem(error: NodeJS.ErrnoException): FileProblem {
  const { code, message } = error
  if (code === 'ENOENT' || code === 'ENOTDIR') return new FileProblem('missing', 'does not exist', code)
  // A socket cannot be opened.
  if (code === 'ENXIO') return new FileProblem('kind', 'is not a regular file', code)
  return new FileProblem('system', `cannot be read: ${code ?? message}`, code)
}

function kindOf(entry: Stats): string {
  if (entry.isDirectory()) return 'a folder'
  if (entry.isFIFO()) return 'a pipe'
  return entry.isSocket() ? 'a socket' : 'a device'
}

export const CHECK_HINT = 'check the path, its permissions and the disk'

const LINK_HINT =
  'put the file itself into the folder: terge follows links only inside the model folder and into the blobs of the hub cache'

/**
 * Turns a `FileProblem` into an error for the user: `outside-link` for links, else `cannot-read`. Returns other errors
 * unchanged. `shown` names the file.
 */
export function fileFault(error: unknown, shown: string, exit: ExitCode = 2): Fault | Error {
  if (!(error instanceof FileProblem)) return error as Error
  return error.kind === 'link'
    ? fault('outside-link', `${shown} ${error.message}`, LINK_HINT, exit)
    : fault('cannot-read', `${shown} ${error.message}`, CHECK_HINT, exit)
}
