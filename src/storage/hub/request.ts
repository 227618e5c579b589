/**
 * Requests to the hub and to the storage that it sends us to. Redirects are followed by hand, so that the token goes to
 * the hub alone; each attempt has its time; and what fails is told without addresses, which may be signed.
 */
import type { HubSettings } from './settings.js'

/** Redirects a request may take: to a renamed repository, to storage, and some to spare. */
const MAX_REDIRECTS = 8
/** Attempts that bring nothing, one after the other, before it is given up; about ten seconds of waiting. */
const MOST_FAILURES = 7
/** The same of short questions: who waits for a plan wants to know soon. */
const MOST_QUESTIONS = 5
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 4000
/** Milliseconds. A hub that is overrun may ask for more than we would wait. */
const LONGEST_WISH = 30_000
/** Attempts in a row, each of which brings less than `LITTLE` bytes: more than a bad connection needs. */
const MOST_POOR = 50
const LITTLE = 2 ** 16
/** Bytes of an answer of the hub's API, and of all pages of one list. */
const MAX_ANSWER = 64 * 2 ** 20
/** Pages of one list. The hub's have up to a thousand entries. */
const MOST_PAGES = 1000
/** Bytes a second that a body must bring while it is waited for, averaged over the time that it may pause. */
const LEAST_RATE = 1024

/** Why a request came to nothing. Its message is safe to show. */
export class HubError extends Error {
  constructor(
    message: string,
    /** Of HTTP, where there was an answer. */
    readonly status?: number,
    /** The hub's own word: `RepoNotFound`, `GatedRepo`, … */
    readonly code?: string,
    /** Another attempt may bring more. */
    readonly passing = false,
    /** Milliseconds that the server asks us to wait. */
    readonly wait = 0,
  ) {
    super(message)
  }
}

export interface Ask {
  /** First byte, and how many at most; without a number, to the end. */
  readonly range?: { readonly start: number; readonly length?: number }
  readonly signal?: AbortSignal | undefined
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** The body as it comes in. Ends with a `HubError` where it is cut or stalls. */
  chunks(): AsyncGenerator<Uint8Array, void>
  /** Stops what is still to come. */
  close(): void
}

/** One attempt to get an address. Gives answers of 200 and 206; anything else is a `HubError`. */
export async function get(settings: HubSettings, address: string, { range, signal }: Ask = {}): Promise<Answer> {
  signal?.throwIfAborted()
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  signal?.addEventListener('abort', stop, { once: true })
  let timer = setTimeout(stop, settings.answerTimeout)
  const done = (): void => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
  }
  /** The user's wish to stop goes first; what the system says is behind a fetch's error. */
  const failed = (error: unknown, stalled: string): Error => {
    done()
    if (signal?.aborted) return signal.reason
    if (error instanceof HubError) return error
    if (controller.signal.aborted) return new HubError(stalled, undefined, undefined, true)
    return new HubError(describe(error), undefined, undefined, true)
  }
  let response: Response
  try {
    response = await follow(settings, address, range, controller.signal)
  } catch (error) {
    throw failed(error, `no answer within ${settings.answerTimeout / 1000} s`)
  }
  const close = (): void => {
    done()
    controller.abort()
  }
  if (response.status !== 200 && response.status !== 206) {
    const error = refusal(response, isHub(settings, response.url))
    close()
    throw error
  }
  clearTimeout(timer)
  return {
    status: response.status,
    headers: response.headers,
    close,
    async *chunks() {
      const rest = (): void => {
        clearTimeout(timer)
        timer = setTimeout(stop, settings.byteTimeout)
      }
      const reader = response.body?.getReader()
      const pace = paceOf(settings.byteTimeout)
      try {
        for (;;) {
          rest()
          const piece = await pace.wait(reader?.read())
          if (!piece || piece.done) return
          clearTimeout(timer)
          pace.came(piece.value.length)
          yield piece.value
        }
      } catch (error) {
        throw failed(error, `nothing came for ${settings.byteTimeout / 1000} s`)
      } finally {
        close()
      }
    },
  }
}

/** Of a body, the time that it was waited for and what it brought: `came` throws a `HubError` where it trickles. */
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
        throw new HubError(`less than ${LEAST_RATE} bytes a second came for ${Math.round(waited / 1000)} s`)
      waited = 0
      brought = 0
    },
  }
}

const isHub = (settings: HubSettings, url: string): boolean =>
  URL.canParse(url) && new URL(url).origin === new URL(settings.endpoint).origin

/** Follows redirects; each hop gets just what it may have. */
async function follow(
  settings: HubSettings,
  address: string,
  range: Ask['range'],
  signal: AbortSignal,
): Promise<Response> {
  let url = new URL(address)
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const headers: Record<string, string> = { 'user-agent': 'terge', accept: '*/*', 'accept-encoding': 'identity' }
    if (settings.token !== undefined && isHub(settings, url.href)) headers.authorization = `Bearer ${settings.token}`
    if (range)
      headers.range = `bytes=${range.start}-${range.length === undefined ? '' : range.start + range.length - 1}`
    const response = await fetch(url.href, { headers, redirect: 'manual', signal })
    if (![301, 302, 303, 307, 308].includes(response.status)) return response
    const location = response.headers.get('location') ?? ''
    await response.body?.cancel()
    if (!URL.canParse(location, url.href)) throw new HubError('a redirect that leads nowhere')
    const next = new URL(location, url.href)
    if (next.protocol !== 'https:' && (next.protocol !== 'http:' || url.protocol !== 'http:'))
      throw new HubError('a redirect to an address that is not safe')
    // With them fetch would refuse, and show the address.
    next.username = ''
    next.password = ''
    url = next
  }
  throw new HubError(`more than ${MAX_REDIRECTS} redirects`)
}

/** Storage refuses an address that has expired, and asking the hub again mends that; the hub's own no is a no. */
function refusal({ status, headers }: Response, ofHub: boolean): HubError {
  const passing = status === 408 || status === 425 || status === 429 || status >= 500 || (!ofHub && status === 403)
  const wish = Number(headers.get('retry-after') ?? 0) * 1000
  const wait = wish > 0 ? Math.min(wish, LONGEST_WISH) : 0
  const code = ofHub ? (headers.get('x-error-code') ?? undefined) : undefined
  return new HubError(`status ${status}${ofHub ? '' : ' of the storage'}`, status, code, passing, wait)
}

/** The system's code alone: messages may hold addresses. */
function describe(error: unknown): string {
  const { cause } = error as { cause?: { code?: unknown } }
  const code = typeof cause?.code === 'string' ? cause.code : (error as { code?: unknown }).code
  return typeof code === 'string' && /^[A-Z0-9_]{1,40}$/.test(code) ? code : 'the connection broke'
}

/** Waits; ends early, with its reason, when the signal is aborted. */
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
 * Tries until it works or fails for good. `attempt` says with `progress` how many bytes it brought: attempts that
 * bring nothing count, and those that bring little, of which more are allowed.
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
      if (!(error instanceof HubError) || !error.passing || ++failures >= most || poor >= MOST_POOR) throw error
      await pause(Math.max(error.wait, Math.min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)), signal)
    }
  }
}

/**
 * `fetch` as `@huggingface/hub` is to use it: GET alone, the whole answer at once, and our own token, so that pages that
 * lead elsewhere don't get it. What is no success is thrown as a `HubError`, and so are pages that lead back, or never end.
 */
export function apiFetch(
  settings: HubSettings,
  options: { readonly most?: number; readonly signal?: AbortSignal | undefined },
): typeof fetch {
  const asked = new Set<string>()
  let total = 0
  return (input) => {
    if (asked.has(String(input))) throw new HubError('a list whose pages lead back to one before')
    asked.add(String(input))
    if (asked.size > MOST_PAGES) throw new HubError('a list of files without an end')
    return patiently(
      async () => {
        const answer = await get(settings, String(input), { signal: options.signal })
        const pieces: Uint8Array[] = []
        let size = 0
        for await (const piece of answer.chunks()) {
          size += piece.length
          if (total + size > MAX_ANSWER) throw new HubError('an answer that is too long')
          pieces.push(piece)
        }
        total += size
        return new Response(Buffer.concat(pieces), { status: answer.status, headers: answer.headers })
      },
      { most: MOST_QUESTIONS, ...options },
    )
  }
}
