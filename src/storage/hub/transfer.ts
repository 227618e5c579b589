/** Brings one file of the hub into the cache: goes on where it stopped, and takes nothing whose digest is another. */
import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
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
  /** How many bytes of the file are there now. May fall, where they turn out wrong. */
  readonly progress?: (bytes: number) => void
  readonly signal?: AbortSignal | undefined
}

/** Bytes that are read at once where a part from an earlier run is hashed. */
const BUFFER = 2 ** 20
/** Milliseconds between looks at whether another process has finished. */
const WAIT = 250

/** By content: two models of one run may share it. */
const running = new Map<string, Promise<void>>()

/**
 * Fetches the content of a file, if the cache does not have it. Errors: `hub-digest`, `write-failed`, those of `hubFault`,
 * with the subject's exit code.
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
    // Another run may be fetching the same: then it is ours too.
    while ((await takeLock(lock)) !== undefined) {
      signal?.throwIfAborted()
      await new Promise((resolve) => setTimeout(resolve, WAIT))
    }
    try {
      if (await isCached(target, file.size)) return progress?.(file.size)
      await complete(transfer, `${target}.incomplete`)
      await rename(`${target}.incomplete`, target)
    } finally {
      await releaseLock(lock)
    }
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException
    if (error instanceof HubError || code === undefined || syscall === undefined)
      throw hubFault(error, settings, { ...subject, entry: file.path })
    const hint =
      code === 'ENOSPC'
        ? 'free space on the disk of the cache, or set HF_HOME to another'
        : 'set HF_HOME to a folder that can be written'
    throw fault(
      'write-failed',
      `${subject.reference}: ${file.path} cannot be written into the cache ${settings.cache}: ${code}`,
      hint,
      subject.exit ?? 2,
    )
  }
}

/** What is there of a file, and its digest so far. */
interface Part {
  readonly handle: FileHandle
  hash: Hash
  at: number
  restarts: number
}

/** Beginnings from nothing that a file may take, whatever came in between. */
const MOST_RESTARTS = 5

/** Git's own digest covers a heading that says the length. */
const digestOf = ({ sha256, size }: HubFile): Hash =>
  sha256 === undefined ? createHash('sha1').update(`blob ${size}\0`) : createHash('sha256')

async function complete(transfer: Transfer, incomplete: string): Promise<void> {
  const { subject, file, progress, signal } = transfer
  // Made without emptying what an earlier run left.
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
      // An earlier run's part may have been something else; and one wrong byte on the way is no reason to give up.
      if (again)
        throw fault(
          'hub-digest',
          `${subject.reference}: ${file.path} has come in twice with another digest than the hub publishes`,
          'something on the way changes it, or the repository is damaged: nothing of it was kept',
          subject.exit ?? 2,
        )
    }
    await handle.sync()
  } finally {
    const { size } = await handle.stat()
    await handle.close()
    // Nothing to go on with.
    if (size === 0 && file.size > 0) await rm(incomplete, { force: true })
  }
}

async function startOver(part: Part, file: HubFile): Promise<void> {
  await part.handle.truncate(0)
  part.hash = digestOf(file)
  part.at = 0
  if (part.restarts++ === MOST_RESTARTS) throw new HubError('every attempt had to begin anew')
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

/** One attempt at the rest of a file. `brought` says that something has come. */
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
      // It has become another file, or the server counts otherwise: what is there is of no use.
      await startOver(part, file)
      throw new HubError('the server refuses to go on', 416, undefined, true)
    },
  )
  if (answer.status === 206) {
    const range = rangeOf(answer.headers)
    if (range?.start !== from || range.size !== file.size) {
      answer.close()
      throw new HubError('an answer with another range than was asked for', undefined, undefined, true)
    }
  } else if (from > 0) await startOver(part, file)
  for await (const piece of answer.chunks()) {
    if (part.at + piece.length > file.size) {
      await startOver(part, file)
      throw new HubError('more bytes than the file has', undefined, undefined, true)
    }
    for (let done = 0; done < piece.length; ) {
      const { bytesWritten } = await part.handle.write(piece, done, piece.length - done, part.at + done)
      done += bytesWritten
    }
    part.hash.update(piece)
    part.at += piece.length
    // A server that knows no ranges brings the beginning again and again: that is no progress.
    if (part.at > from) brought(piece.length)
    progress?.(part.at)
  }
  if (part.at < file.size) throw new HubError('the connection was cut', undefined, undefined, true)
}
