/**
 * Requests to the hub and to the storage that it redirects to. terge follows redirects itself, so that only the hub gets the
 * token. Each attempt has a timeout. Error messages contain no URLs, because these may be signed.
 */
import type { HubSettings } from './settings.js'

/** Maximum redirects of a request: to a renamed repository, to storage, and a few more. */
const MAX_REDIRECTS = 8
/** Maximum number of successive attempts without any data; about ten seconds of waiting. */
const MOST_FAILURES = 7
/** The same for API requests, because the user waits for the plan. */
const MOST_QUESTIONS = 5
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 4000
/** In milliseconds. An overloaded hub may ask for a longer wait than is useful. */
const LONGEST_WISH = 30_000
/** Maximum successive attempts with less than `LITTLE` bytes each; enough for a bad connection. */
const MOST_POOR = 50
const LITTLE = 2 ** 16
/** Maximum bytes of an API answer, and of all pages of one list. */
const MAX_ANSWER = 64 * 2 ** 20
/** Maximum pages of one list. A page has up to a thousand entries. */
const MOST_PAGES = 1000
/** Minimum bytes per second of a body, averaged over the timeout. */
const LEAST_RATE = 1024

/** Why a request failed. Its message is safe to show. */
export class HubError extends Error {
  constructor(
    message: string,
    /** HTTP status, if there was an answer. */
    readonly status?: number,
    /** The hub's error code: `RepoNotFound`, `GatedRepo`, … */
    readonly code?: string,
    /** Whether another attempt can succeed. */
    readonly passing = false,
    /** Milliseconds that the server asks us to wait. */
    readonly wait = 0,
  ) {
    super(message)
  }
}

export interface Ask {
  /** First byte and maximum length; without a length, to the end. */
  readonly range?: { readonly start: number; readonly length?: number }
  readonly signal?: AbortSignal | undefined
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** The body in pieces. Throws a `HubError` if the connection is cut or stalls. */
  chunks(): AsyncGenerator<Uint8Array, void>
  /** Cancels the rest of the body. */
  close(): void
}

/** One attempt to get a URL. Returns answers with status 200 and 206; throws a `HubError` otherwise. */
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
  /** An abort by the user has priority over other errors. */
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
        throw failed(error, `no data for ${settings.byteTimeout / 1000} s`)
      } finally {
        close()
      }
    },
  }
}

/** Measures the data rate of a body while waiting for it. `came` throws a `HubError` if it is too slow. */
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
        throw new HubError(`less than ${LEAST_RATE} bytes per second for ${Math.round(waited / 1000)} s`)
      waited = 0
      brought = 0
    },
  }
}

const isHub = (settings: HubSettings, url: string): boolean =>
  URL.canParse(url) && new URL(url).origin === new URL(settings.endpoint).origin

/** Follows redirects. Sends the token only to the hub. */
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
    if (!URL.canParse(location, url.href)) throw new HubError('a redirect without a valid URL')
    const next = new URL(location, url.href)
    if (next.protocol !== 'https:' && (next.protocol !== 'http:' || url.protocol !== 'http:'))
      throw new HubError('a redirect to an unsafe URL')
    // `fetch` refuses URLs with credentials, and its error shows the URL.
    next.username = ''
    next.password = ''
    url = next
  }
  throw new HubError(`more than ${MAX_REDIRECTS} redirects`)
}

/** Makes a `HubError` from an answer. Status 403 from storage means an expired URL, so asking the hub again can help; 403 from the hub is final. */
function refusal({ status, headers }: Response, ofHub: boolean): HubError {
  const passing = status === 408 || status === 425 || status === 429 || status >= 500 || (!ofHub && status === 403)
  const wish = Number(headers.get('retry-after') ?? 0) * 1000
  const wait = wish > 0 ? Math.min(wish, LONGEST_WISH) : 0
  const code = ofHub ? (headers.get('x-error-code') ?? undefined) : undefined
  return new HubError(`status ${status}${ofHub ? '' : ' from the storage'}`, status, code, passing, wait)
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
      if (!(error instanceof HubError) || !error.passing || ++failures >= most || poor >= MOST_POOR) throw error
      await pause(Math.max(error.wait, Math.min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)), signal)
    }
  }
}

/**
 * A `fetch` for `@huggingface/hub`: only GET, the whole answer at once, and with terge's own handling of the token, so that
 * pages on other hosts do not get it. Throws a `HubError` for failures and for lists whose pages repeat or never end.
 */
export function apiFetch(
  settings: HubSettings,
  options: { readonly most?: number; readonly signal?: AbortSignal | undefined },
): typeof fetch {
  const asked = new Set<string>()
  let total = 0
  return (input) => {
    if (asked.has(String(input))) throw new HubError('the pages of a list repeat')
    asked.add(String(input))
    if (asked.size > MOST_PAGES) throw new HubError('the list of files does not end')
    return patiently(
      async () => {
        const answer = await get(settings, String(input), { signal: options.signal })
        const pieces: Uint8Array[] = []
        let size = 0
        for await (const piece of answer.chunks()) {
          size += piece.length
          if (total + size > MAX_ANSWER) throw new HubError('the answer is too long')
          pieces.push(piece)
        }
        total += size
        return new Response(Buffer.concat(pieces), { status: answer.status, headers: answer.headers })
      },
      { most: MOST_QUESTIONS, ...options },
    )
  }
}
