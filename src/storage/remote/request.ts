/**
 * Requests to places where models are: what all of them need. Each attempt has a timeout, and attempts that fail for a moment are
 * repeated. Error messages contain no URLs, because these may be signed.
 */

import type { Answer } from './types.js'

/** Maximum number of successive attempts without any data; about ten seconds of waiting. */
const MOST_FAILURES = 7
/** The same for questions before a plan is made, because the user waits for it. */
export const MOST_QUESTIONS = 5
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 4000
/** In milliseconds. An overloaded server may ask for a longer wait than is useful. */
const LONGEST_WISH = 30_000
/** Maximum successive attempts with less than `LITTLE` bytes each; enough for a bad connection. */
const MOST_POOR = 50
const LITTLE = 2 ** 16
/** Minimum bytes per second of a body, averaged over the timeout. */
const LEAST_RATE = 1024

/** Why a request failed. Its message is safe to show. */
export class RequestError extends Error {
  constructor(
    message: string,
    /** HTTP status, if there was an answer. */
    readonly status?: number,
    /** The server's error code: `GatedRepo`, `NoSuchBucket`, … */
    readonly code?: string,
    /** Whether another attempt can succeed. */
    readonly passing = false,
    /** Milliseconds that the server asks us to wait. */
    readonly wait = 0,
  ) {
    super(message)
  }
}

/** The error for an answer with more bytes than are read of it. */
export class TooLong extends RequestError {
  constructor() {
    super('the answer is too long')
  }
}

/** In milliseconds: for the first answer, and for the next bytes. */
export interface Timeouts {
  readonly answerTimeout: number
  readonly byteTimeout: number
}

/** How one attempt is made. */
export interface Attempt {
  readonly timeouts: Timeouts
  /** `alive` restarts the timeout of the answer: for bodies that are sent. */
  readonly send: (signal: AbortSignal, alive: () => void) => Promise<Response>
  /** The statuses of success; 200 and 206 where absent. */
  readonly accepts?: readonly number[]
  /** Makes the error of an answer with another status. */
  readonly refusal: (response: Response) => RequestError | Promise<RequestError>
  readonly signal?: AbortSignal | undefined
}

/** One attempt of a request. Returns answers with a status of success; throws a `RequestError` otherwise. */
export async function attempt({ timeouts, send, accepts = [200, 206], refusal, signal }: Attempt): Promise<Answer> {
  signal?.throwIfAborted()
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  signal?.addEventListener('abort', stop, { once: true })
  let timer = setTimeout(stop, timeouts.answerTimeout)
  const alive = (): void => {
    clearTimeout(timer)
    timer = setTimeout(stop, timeouts.answerTimeout)
  }
  const done = (): void => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
  }
  /** An abort by the user has priority over other errors. */
  const failed = (error: unknown, stalled: string): Error => {
    done()
    if (signal?.aborted) return signal.reason
    if (error instanceof RequestError) return error
    if (controller.signal.aborted) return new RequestError(stalled, undefined, undefined, true)
    return new RequestError(describe(error), undefined, undefined, true)
  }
  let response: Response
  const sending = send(controller.signal, alive)
  try {
    response = await orAborted(sending, controller.signal)
  } catch (error) {
    // An answer that comes all the same is not read.
    sending.then(({ body }) => body?.cancel()).catch(() => {})
    throw failed(error, `no answer within ${timeouts.answerTimeout / 1000} s`)
  }
  const close = (): void => {
    done()
    controller.abort()
  }
  if (!accepts.includes(response.status)) {
    try {
      throw await orAborted(Promise.resolve(refusal(response)), controller.signal)
    } catch (error) {
      throw failed(error, `no answer within ${timeouts.answerTimeout / 1000} s`)
    } finally {
      close()
    }
  }
  clearTimeout(timer)
  return {
    status: response.status,
    headers: response.headers,
    close,
    async *chunks() {
      const rest = (): void => {
        clearTimeout(timer)
        timer = setTimeout(stop, timeouts.byteTimeout)
      }
      const reader = response.body?.getReader()
      const pace = paceOf(timeouts.byteTimeout)
      try {
        for (;;) {
          rest()
          const piece = await pace.wait(reader && orAborted(reader.read(), controller.signal))
          if (!piece || piece.done) return
          clearTimeout(timer)
          pace.came(piece.value.length)
          yield piece.value
        }
      } catch (error) {
        throw failed(error, `no data for ${timeouts.byteTimeout / 1000} s`)
      } finally {
        close()
      }
    },
  }
}

/** Settles as the work does, but rejects when the signal is aborted, even if the work does not heed it: a run must not wait forever. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}

/** Measures the data rate of a body while waiting for it. `came` throws a `RequestError` if it is too slow. */
function paceOf(window: number): {
  wait<T>(piece: Promise<T> | undefined): Promise<T | undefined>
  came(bytes: number): void
} {
  let [waited, brought] = [0, 0]
  return {
    async wait(piece) {
      const start = performance.now()
      const value = await piece
      waited += performance.now() - start
      return value
    },
    came(bytes) {
      brought += bytes
      if (waited < window) return
      if (brought < (LEAST_RATE * waited) / 1000)
        throw new RequestError(`less than ${LEAST_RATE} bytes per second for ${Math.round(waited / 1000)} s`)
      waited = 0
      brought = 0
    },
  }
}

/** Whether a later attempt can have another result than an answer with this status. */
export const isPassing = (status: number): boolean =>
  status === 408 || status === 425 || status === 429 || status >= 500

/** Milliseconds that an answer asks us to wait. */
export function wishOf(headers: Headers): number {
  const wish = Number(headers.get('retry-after') ?? 0) * 1000
  return wish > 0 ? Math.min(wish, LONGEST_WISH) : 0
}

/** Only the system's error code, because messages may contain URLs. */
function describe(error: unknown): string {
  const { cause } = error as { cause?: { code?: unknown } }
  const code = typeof cause?.code === 'string' ? cause.code : (error as { code?: unknown }).code
  return typeof code === 'string' && /^[A-Z0-9_]{1,40}$/.test(code) ? code : 'the connection failed'
}

/** Waits. Rejects with the reason of `signal` when it is aborted. */
function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    if (signal?.aborted) stop()
    else signal?.addEventListener('abort', stop, { once: true })
  })
}

/**
 * Repeats an attempt until it succeeds or fails for good. `attempt` reports the bytes it receives with `progress`. The number of
 * attempts without data is limited, and so is the (larger) number of attempts with little data.
 */
export async function patiently<T>(
  attempt: (progress: (bytes: number) => void) => Promise<T>,
  { most = MOST_FAILURES, signal }: { readonly most?: number; readonly signal?: AbortSignal | undefined } = {},
): Promise<T> {
  for (let [failures, poor] = [0, 0]; ; ) {
    let brought = 0
    try {
      return await attempt((bytes) => {
        failures = 0
        brought += bytes
      })
    } catch (error) {
      poor = brought < LITTLE ? poor + 1 : 0
      if (!(error instanceof RequestError) || !error.passing || ++failures >= most || poor >= MOST_POOR) throw error
      await pause(Math.max(error.wait, Math.min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)), signal)
    }
  }
}

/** Reads a body of at most `most` bytes. */
export async function bodyOf(answer: Answer, most: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of answer.chunks()) {
    size += piece.length
    if (size > most) throw new TooLong()
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}
