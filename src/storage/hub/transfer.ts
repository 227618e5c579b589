/** Downloads one file into the cache. Resumes an interrupted download, and keeps the file only if its digest is right. */
import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { flushHandle, move } from '../../core/system/disk.js'
import { releaseLock, takeLock } from '../local/lock.js'
import { blobFile, isCached } from './cache.js'
import { hubFault, type Subject } from './faults.js'
import type { HubFile } from './repository.js'
import { get, HubError, patiently } from './request.js'
import type { HubSettings } from './settings.js'
import { addressOf, rangeOf } from './source.js'

export interface Transfer {
  readonly settings: HubSettings
  readonly subject: Subject & { readonly commit: string }
  readonly file: HubFile
  /** Called with the bytes that are downloaded. The number can fall when a download starts over. */
  readonly progress?: (bytes: number) => void
  readonly signal?: AbortSignal | undefined
}

/** Bytes per read when the part from an earlier run is hashed. */
const BUFFER = 2 ** 20
/** Milliseconds between checks whether another process has finished. */
const WAIT = 250

/** Current downloads by content, because two models of one run may share a file. */
const running = new Map<string, Promise<void>>()

/**
 * Downloads the content of a file if it is not in the cache. Errors, with the subject's exit code: `hub-digest`,
 * `write-failed`, those of `hubFault`.
 */
export async function fetchContent(transfer: Transfer): Promise<void> {
  const { settings, subject, file, progress } = transfer
  const target = blobFile(settings.cache, subject.repository, file.blob)
  for (let other = running.get(target); other; other = running.get(target)) await other.catch(() => {})
  if (await isCached(target, file.size)) return progress?.(file.size)
  const work = fetchAlone(transfer, target)
  running.set(target, work)
  try {
    await work
  } finally {
    running.delete(target)
  }
}

async function fetchAlone(transfer: Transfer, target: string): Promise<void> {
  const { settings, subject, file, progress, signal } = transfer
  const lock = path.join(
    settings.cache,
    '.locks',
    path.basename(path.dirname(path.dirname(target))),
    `${file.blob}.terge`,
  )
  try {
    await mkdir(path.dirname(target), { recursive: true })
    await mkdir(lock, { recursive: true })
    // Another run may be downloading the same file: wait for it.
    while ((await takeLock(lock)) !== undefined) {
      signal?.throwIfAborted()
      await new Promise((resolve) => setTimeout(resolve, WAIT))
    }
    try {
      if (await isCached(target, file.size)) return progress?.(file.size)
      await complete(transfer, `${target}.incomplete`)
      await move(`${target}.incomplete`, target)
    } finally {
      await releaseLock(lock)
    }
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException
    if (error instanceof HubError || code === undefined || syscall === undefined)
      throw hubFault(error, settings, { ...subject, entry: file.path })
    const hint =
      code === 'ENOSPC'
        ? 'free space on the disk of the cache, or set HF_HOME to another disk'
        : 'set HF_HOME to a writable folder'
    throw fault(
      'write-failed',
      `${subject.reference}: ${file.path} cannot be written into the cache ${settings.cache}: ${code}`,
      hint,
      subject.exit ?? 2,
    )
  }
}

/** The downloaded part of a file, and its digest so far. */
interface Part {
  readonly handle: FileHandle
  hash: Hash
  at: number
  restarts: number
}

/** Maximum number of times that a download may start over. */
const MOST_RESTARTS = 5

/** Git's digest covers a prefix with the length. */
const digestOf = ({ sha256, size }: HubFile): Hash =>
  sha256 === undefined ? createHash('sha1').update(`blob ${size}\0`) : createHash('sha256')

async function complete(transfer: Transfer, incomplete: string): Promise<void> {
  const { subject, file, progress, signal } = transfer
  // Creates the file, but keeps the part of an earlier run.
  await (await open(incomplete, 'a')).close()
  const handle = await open(incomplete, 'r+')
  const part: Part = { handle, hash: digestOf(file), at: 0, restarts: 0 }
  try {
    await hashEarlier(part, file, signal)
    for (let again = false; ; again = true) {
      progress?.(part.at)
      await patiently(async (brought) => fetchRest(transfer, part, brought), { signal })
      if (part.hash.digest('hex') === file.blob) break
      await startOver(part, file)
      // The part from an earlier run may be wrong, or a byte was changed in transit: try once more.
      if (again)
        throw fault(
          'hub-digest',
          `${subject.reference}: ${file.path} was downloaded twice, both times with a different digest than the hub publishes`,
          'something between the hub and this machine changes the data, or the repository is damaged; the file was not kept',
          subject.exit ?? 2,
        )
    }
    await flushHandle(handle)
  } finally {
    const { size } = await handle.stat()
    await handle.close()
    // There is nothing to resume.
    if (size === 0 && file.size > 0) await rm(incomplete, { force: true })
  }
}

async function startOver(part: Part, file: HubFile): Promise<void> {
  await part.handle.truncate(0)
  part.hash = digestOf(file)
  part.at = 0
  if (part.restarts++ === MOST_RESTARTS) throw new HubError('every attempt had to start over')
}

async function hashEarlier(part: Part, file: HubFile, signal: AbortSignal | undefined): Promise<void> {
  const { size } = await part.handle.stat()
  if (size > file.size) return startOver(part, file)
  const buffer = new Uint8Array(Math.min(BUFFER, size))
  while (part.at < size) {
    signal?.throwIfAborted()
    const { bytesRead } = await part.handle.read(buffer, 0, Math.min(buffer.length, size - part.at), part.at)
    if (bytesRead === 0) break
    part.hash.update(buffer.subarray(0, bytesRead))
    part.at += bytesRead
  }
}

/** One attempt to download the rest of a file. Calls `brought` with the bytes that arrive. */
async function fetchRest(
  { settings, subject, file, progress, signal }: Transfer,
  part: Part,
  brought: (bytes: number) => void,
): Promise<void> {
  if (part.at === file.size) return
  const address = addressOf(settings, subject.repository, subject.commit, file)
  const from = part.at
  const answer = await get(settings, address, { ...(from > 0 ? { range: { start: from } } : {}), signal }).catch(
    async (error) => {
      if (!(error instanceof HubError) || error.status !== 416) throw error
      // The file changed, or the server counts differently: the part is useless.
      await startOver(part, file)
      throw new HubError('the server refuses to resume', 416, undefined, true)
    },
  )
  if (answer.status === 206) {
    const range = rangeOf(answer.headers)
    if (range?.start !== from || range.size !== file.size) {
      answer.close()
      throw new HubError('the answer has a different range than requested', undefined, undefined, true)
    }
  } else if (from > 0) await startOver(part, file)
  for await (const piece of answer.chunks()) {
    if (part.at + piece.length > file.size) {
      await startOver(part, file)
      throw new HubError('the answer has more bytes than the file', undefined, undefined, true)
    }
    for (let done = 0; done < piece.length; ) {
      const { bytesWritten } = await part.handle.write(piece, done, piece.length - done, part.at + done)
      done += bytesWritten
    }
    part.hash.update(piece)
    part.at += piece.length
    // A server without ranges sends the first bytes again each time: that is not progress.
    if (part.at > from) brought(piece.length)
    progress?.(part.at)
  }
  if (part.at < file.size) throw new HubError('the connection was cut', undefined, undefined, true)
}
