/** SHA-256 of whole files: each file sequentially, several files at a time in threads of their own. */
import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import { threadsWithinAddresses } from '../../core/resources.js'
import { FileProblem, openRegular } from '../../storage/local/regular.js'
import { interrupted, refuseInterrupted } from '../interrupted.js'

/** What a thread is asked. `state`: whether to stop, and pieces of 1 MiB so far. */
export interface HashTask {
  readonly fd: number
  readonly state: Int32Array
}

export type HashAnswer =
  | { readonly sum: string; readonly bytes: number }
  | { readonly stopped: true }
  | { readonly failure: string }

/** Where links may lead: the bounds of a folder. */
export interface Within {
  readonly root: string
  readonly blobs?: string
}

export interface HasherOptions {
  /** How many files are hashed at the same time. */
  readonly threads: number
  readonly signal?: AbortSignal | undefined
}

export interface Hasher {
  /**
   * `sha256:…` of a whole regular file. `within`: where links may lead. `progress`: called with the bytes so far. Throws `FileProblem`,
   * and the error `interrupted`.
   */
  sum(file: string, within?: Within, progress?: (bytes: number) => void): Promise<string>
  /** Ends the threads. Work that is under way fails. */
  close(): Promise<void>
}

/** Smaller files are hashed at once: a thread would start later than the file is done. */
const SMALL = 8 * 2 ** 20
/** Bytes that are read at once where no thread is used. */
const PIECE = 2 ** 20
/** Milliseconds between looks at how far a thread is. */
const EVERY = 100

export function openHasher({ threads, signal }: HasherOptions): Hasher {
  const idle: Worker[] = []
  const all = new Set<Worker>()
  const running = new Set<Int32Array>()
  const slot = slots(threads)
  let isClosed = false
  const refuseEnded = (): void => {
    refuseInterrupted(signal)
    if (isClosed) throw interrupted()
  }

  /** A thread; undefined if the address space has no room for one. */
  function take(): Worker | undefined {
    const found = idle.pop()
    if (found || threadsWithinAddresses(1) < 1) return found
    const worker = new Worker(new URL('./thread.js', import.meta.url), { stdin: false })
    // What waits for it keeps the process alive.
    worker.unref()
    all.add(worker)
    return worker
  }

  /** Undefined if the thread has failed, so that the file is to be hashed without it. */
  async function inThread(worker: Worker, task: HashTask): Promise<HashAnswer | undefined> {
    const answer = await asked(worker, task)
    if (answer) idle.push(worker)
    else all.delete(worker)
    return answer
  }

  async function sumOf(handle: FileHandle, progress: (bytes: number) => void): Promise<string> {
    refuseEnded()
    const worker = take()
    const answer = worker && (await watched(worker, handle, progress))
    if (!answer) return sumHere(handle, refuseEnded, progress)
    if ('sum' in answer) return answer.sum
    refuseEnded()
    if ('failure' in answer) throw new FileProblem('system', `cannot be read: ${answer.failure}`, answer.failure)
    throw new Error('internal: nobody waits for this digest')
  }

  async function watched(worker: Worker, handle: FileHandle, progress: (bytes: number) => void) {
    const state = new Int32Array(new SharedArrayBuffer(8))
    const timer = setInterval(() => progress(Atomics.load(state, 1) * PIECE), EVERY)
    const stop = (): void => void Atomics.store(state, 0, 1)
    signal?.addEventListener('abort', stop, { once: true })
    running.add(state)
    try {
      return await inThread(worker, { fd: handle.fd, state })
    } finally {
      clearInterval(timer)
      running.delete(state)
      signal?.removeEventListener('abort', stop)
    }
  }

  return {
    sum: (file, within, progress = () => {}) =>
      slot(async () => {
        refuseEnded()
        const { handle, size } = await openRegular(file, within)
        try {
          const hash = size < SMALL ? sumHere(handle, refuseEnded, progress, size + 1) : sumOf(handle, progress)
          return `sha256:${await hash}`
        } finally {
          await handle.close()
        }
      }),
    async close() {
      isClosed = true
      for (const state of running) Atomics.store(state, 0, 1)
      await Promise.all([...all].map((worker) => worker.terminate()))
    },
  }
}

/** The answer of a thread; undefined if it fails or ends. */
async function asked(worker: Worker, task: HashTask): Promise<HashAnswer | undefined> {
  const answer = await new Promise<HashAnswer | undefined>((resolve) => {
    worker.once('message', resolve)
    worker.once('error', () => resolve(undefined))
    worker.once('exit', () => resolve(undefined))
    worker.postMessage(task)
  })
  for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event)
  return answer
}

/** Does at most so many things at a time, in the order in which they were asked for. */
function slots(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let free = most
  return async (work) => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else free++
    }
  }
}

async function sumHere(
  handle: FileHandle,
  refuseEnded: () => void,
  progress: (bytes: number) => void,
  expected = PIECE,
): Promise<string> {
  const hash = createHash('sha256')
  // Thousands of small files need no large buffer each.
  const buffer = new Uint8Array(Math.min(PIECE, expected))
  for (let at = 0; ; ) {
    refuseEnded()
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at)
    if (bytesRead === 0) return hash.digest('hex')
    hash.update(buffer.subarray(0, bytesRead))
    at += bytesRead
    progress(at)
  }
}
