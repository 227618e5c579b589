/**
 * Requests to the hub and to the storage that it redirects to. terge follows redirects itself, so that only the hub gets the
 * token.
 */
import { attempt, bodyOf, isPassing, MOST_QUESTIONS, patiently, RequestError, wishOf } from '../remote/request.js'
import type { Answer, Ask } from '../remote/types.js'
import type { HubSettings } from './settings.js'

/** Maximum redirects of a request: to a renamed repository, to storage, and a few more. */
const MAX_REDIRECTS = 8
/** Maximum bytes of an API answer, and of all pages of one list. */
const MAX_ANSWER = 64 * 2 ** 20
/** Maximum pages of one list. A page has up to a thousand entries. */
const MOST_PAGES = 1000

/** One attempt to get a URL. */
export const get = (settings: HubSettings, address: string, { range, signal }: Ask = {}): Promise<Answer> =>
  attempt({
    timeouts: settings,
    send: (stop) => follow(settings, address, range, stop),
    refusal: (response) => refusal(response, isHub(settings, response.url)),
    signal,
  })

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
    if (!URL.canParse(location, url.href)) throw new RequestError('a redirect without a valid URL')
    const next = new URL(location, url.href)
    if (next.protocol !== 'https:' && (next.protocol !== 'http:' || url.protocol !== 'http:'))
      throw new RequestError('a redirect to an unsafe URL')
    // `fetch` refuses URLs with credentials, and its error shows the URL.
    next.username = ''
    next.password = ''
    url = next
  }
  throw new RequestError(`more than ${MAX_REDIRECTS} redirects`)
}

/** Makes a `RequestError` from an answer. Status 403 from storage means an expired URL, so asking the hub again can help; 403 from the hub is final. */
function refusal({ status, headers }: Response, ofHub: boolean): RequestError {
  const passing = isPassing(status) || (!ofHub && status === 403)
  const code = ofHub ? (headers.get('x-error-code') ?? undefined) : undefined
  return new RequestError(`status ${status}${ofHub ? '' : ' from the storage'}`, status, code, passing, wishOf(headers))
}

/**
 * A `fetch` for `@huggingface/hub`: only GET, the whole answer at once, and with terge's own handling of the token, so that
 * pages on other hosts do not get it. Throws a `RequestError` for failures and for lists whose pages repeat or never end.
 */
export function apiFetch(
  settings: HubSettings,
  options: { readonly most?: number; readonly signal?: AbortSignal | undefined },
): typeof fetch {
  const asked = new Set<string>()
  let total = 0
  return (input) => {
    if (asked.has(String(input))) throw new RequestError('the pages of a list repeat')
    asked.add(String(input))
    if (asked.size > MOST_PAGES) throw new RequestError('the list of files does not end')
    return patiently(
      async () => {
        const answer = await get(settings, String(input), { signal: options.signal })
        const body = await bodyOf(answer, MAX_ANSWER - total)
        total += body.length
        return new Response(body, { status: answer.status, headers: answer.headers as Headers })
      },
      { most: MOST_QUESTIONS, ...options },
    )
  }
}
