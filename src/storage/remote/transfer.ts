/** Downloads one file into the cache. Resumes an interrupted download, and keeps the file only if its content is right. */
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises'
import path from 'node:path'
import { type ExitCode, fault } from '../../core/diagnostics.js'
import { isDiskFull } from '../../core/system/attempt.js'
import { flushHandle, move } from '../../core/system/disk.js'
import { releaseLock, takeLock } from '../local/lock.js'
import { rangeOf } from './blocks.js'
import { isCached } from './place.js'
import { patiently, RequestError } from './request.js'
import type { Check, Content } from './types.js'

export interface TransferOptions {
  /** Called with the bytes that are downloaded. The number can fall when a download starts over. */
  readonly progress?: (bytes: number) => void
  readonly signal?: AbortSignal | undefined
  /** The exit code of errors; 2 where absent. */
  readonly exit?: ExitCode
  /** Whether to fsync the file. Default: true. */
  readonly sync?: boolean
}

/** Bytes per read when the part from an earlier run is hashed. */
const BUFFER = 2 ** 20
/** Milliseconds between checks whether another process has finished. */
const WAIT = 250

/** Current downloads by content, because two models of one run may share a file. */
const running = new Map<string, Promise<void>>()

/**
 * Downloads a content if it is not in the cache. Errors, with the exit code of the options: `write-failed`, those of
 * `Content.explain` and `Content.wrong`.
 */
export async function fetchContent(content: Content, options: TransferOptions = {}): Promise<void> {
  const { target, size } = content
  for (let other = running.get(target); other; other = running.get(target)) await other.catch(() => {})
  if (await isCached(target, size)) return options.progress?.(size)
  const work = fetchAlone(content, options)
  running.set(target, work)
  try {
    await work
  } finally {
    running.delete(target)
  }
}

async function fetchAlone(content: Content, options: TransferOptions): Promise<void> {
  const { progress, signal, exit = 2 } = options
  const { target, lock, size, cache } = content
  try {
    await mkdir(path.dirname(target), { recursive: true })
    await mkdir(lock, { recursive: true })
    // Another run may be downloading the same file: wait for it.
    while ((await takeLock(lock)) !== undefined) {
      signal?.throwIfAborted()
      await new Promise((resolve) => setTimeout(resolve, WAIT))
    }
    try {
      if (await isCached(target, size)) return progress?.(size)
      await complete(content, options)
      await move(incompleteOf(content), target)
    } finally {
      await releaseLock(lock)
    }
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException
    if (error instanceof RequestError || code === undefined || syscall === undefined) throw content.explain(error, exit)
    const hint = isDiskFull(error)
      ? `free space on the disk of the cache, or set ${cache.variable} to another disk`
      : `set ${cache.variable} to a writable folder`
    throw fault(
      'write-failed',
      `${content.reference}: ${content.path} cannot be written into the cache ${cache.folder}: ${code}`,
      hint,
      exit,
    )
  }
}

const incompleteOf = ({ target }: Content): string => `${target}.incomplete`

/** The downloaded part of a file, and its digest so far. */
interface Part {
  readonly handle: FileHandle
  readonly fresh: () => Check
  check: Check
  at: number
  restarts: number
}

/** Maximum number of times that a download may start over. */
const MOST_RESTARTS = 5

async function complete(content: Content, { progress, signal, exit = 2, sync = true }: TransferOptions): Promise<void> {
  const incomplete = incompleteOf(content)
  const fresh = await content.checks(signal)
  // Creates the file, but keeps the part of an earlier run.
  await (await open(incomplete, 'a')).close()
  const handle = await open(incomplete, 'r+')
  const part: Part = { handle, fresh, check: fresh(), at: 0, restarts: 0 }
  try {
    await hashEarlier(part, content.size, signal)
    for (let again = false; ; again = true) {
      progress?.(part.at)
      await patiently(async (brought) => fetchRest(content, part, brought, { progress, signal }), { signal })
      if (part.check.matches()) break
      await startOver(part)
      // The part from an earlier run may be wrong, or a byte was changed in transit: try once more.
      if (again) throw content.wrong(exit)
    }
    if (sync) await flushHandle(handle)
  } finally {
    const { size } = await handle.stat()
    await handle.close()
    // There is nothing to resume.
    if (size === 0 && content.size > 0) await rm(incomplete, { force: true })
  }
}

async function startOver(part: Part): Promise<void> {
  await part.handle.truncate(0)
  part.check = part.fresh()
  part.at = 0
  if (part.restarts++ === MOST_RESTARTS) throw new RequestError('every attempt had to start over')
}

async function hashEarlier(part: Part, most: number, signal: AbortSignal | undefined): Promise<void> {
  const { size } = await part.handle.stat()
  if (size > most) return startOver(part)
  const buffer = new Uint8Array(Math.min(BUFFER, size))
  while (part.at < size) {
    signal?.throwIfAborted()
    const { bytesRead } = await part.handle.read(buffer, 0, Math.min(buffer.length, size - part.at), part.at)
    if (bytesRead === 0) break
    part.check.update(buffer.subarray(0, bytesRead))
    part.at += bytesRead
  }
}

/** One attempt to download the rest of a file. Calls `brought` with the bytes that arrive. */
async function fetchRest(
  content: Content,
  part: Part,
  brought: (bytes: number) => void,
  { progress, signal }: { readonly progress: ((bytes: number) => void) | undefined } & Pick<TransferOptions, 'signal'>,
): Promise<void> {
  if (part.at === content.size) return
  const from = part.at
  const answer = await content.get({ ...(from > 0 ? { range: { start: from } } : {}), signal }).catch(async (error) => {
    if (!(error instanceof RequestError) || error.status !== 416) throw error
    // The file changed, or the server counts differently: the part is useless.
    await startOver(part)
    throw new RequestError('the server refuses to resume', 416, undefined, true)
  })
  if (answer.status === 206) {
    const range = rangeOf(answer.headers)
    if (range?.start !== from || range.size !== content.size) {
      answer.close()
      throw new RequestError('the answer has a different range than requested', undefined, undefined, true)
    }
  } else if (from > 0) await startOver(part)
  for await (const piece of answer.chunks()) {
    if (part.at + piece.length > content.size) {
      await startOver(part)
      throw new RequestError('the answer has more bytes than the file', undefined, undefined, true)
    }
    for (let done = 0; done < piece.length; ) {
      const { bytesWritten } = await part.handle.write(piece, done, piece.length - done, part.at + done)
      done += bytesWritten
    }
    part.check.update(piece)
    part.at += piece.length
    // A server without ranges sends the first bytes again each time: that is not progress.
    if (part.at > from) brought(piece.length)
    progress?.(part.at)
  }
  if (part.at < content.size) throw new RequestError('the connection was cut', undefined, undefined, true)
}
