/** Requests that change a repository on the hub. Only the hub gets the token; addresses of its storage are signed. */
import { type Body, bodyInit } from '../../remote/bodies.js'
import { attempt, bodyOf, isPassing, patiently, RequestError, wishOf } from '../../remote/request.js'
import type { Answer } from '../../remote/types.js'
import type { HubSettings } from '../settings.js'

/** Maximum bytes of an answer. */
const MOST_ANSWER = 64 * 2 ** 20
/** A server that is overloaded can refuse for a while: about 40 seconds of waiting. */
export const MOST_REFUSALS = 15
/** A server answers only after it has stored what it was sent. */
const STORING = 6
const MOST_REDIRECTS = 3
const ACCEPTED = [200, 201, 202, 204, 206]

const JSON_TYPE = 'application/json'
const LFS_TYPE = 'application/vnd.git-lfs+json'

export interface Post {
  /** Below the endpoint, or an address that the hub gave. */
  readonly url: string
  readonly body: string
  readonly type?: string
  /** Maximum number of attempts. */
  readonly most?: number
  readonly signal?: AbortSignal | undefined
}

/** Sends JSON to the hub. The answer is parsed, and not checked further. */
export function post(settings: HubSettings, { url, body, type = JSON_TYPE, most, signal }: Post): Promise<unknown> {
  return patiently(
    async () => {
      const answer = await attempt({
        timeouts: patientFor(settings),
        accepts: ACCEPTED,
        send: (stop) => postOnce(settings, url, body, type, stop),
        refusal: (response) => refusal(settings, response),
        signal,
      })
      const text = (await bodyOf(answer, MOST_ANSWER)).toString('utf8')
      if (text.trim() === '' || !(answer.headers.get('content-type') ?? '').includes('json')) return undefined
      try {
        return JSON.parse(text) as unknown
      } catch {
        throw new RequestError('the answer is not valid', undefined, undefined, true)
      }
    },
    { most: most ?? MOST_REFUSALS, signal },
  )
}

export const lfsPost = (settings: HubSettings, request: Omit<Post, 'type'>): Promise<unknown> =>
  post(settings, { ...request, type: LFS_TYPE })

const patientFor = ({ answerTimeout, byteTimeout }: HubSettings) => ({
  answerTimeout: answerTimeout * STORING,
  byteTimeout: byteTimeout * STORING,
})

const isHub = ({ endpoint }: HubSettings, url: URL): boolean => url.origin === new URL(endpoint).origin

/** A repository that was renamed is at another address of the hub. */
async function postOnce(
  settings: HubSettings,
  address: string,
  body: string,
  type: string,
  signal: AbortSignal,
): Promise<Response> {
  let url = checkedUrl(settings, address)
  for (let hop = 0; hop <= MOST_REDIRECTS; hop++) {
    const headers: Record<string, string> = { 'user-agent': 'terge', 'content-type': type }
    headers.accept = type === LFS_TYPE ? LFS_TYPE : '*/*'
    if (settings.token !== undefined && isHub(settings, url)) headers.authorization = `Bearer ${settings.token}`
    const response = await fetch(url.href, { method: 'POST', body, headers, redirect: 'manual', signal })
    if (response.status !== 307 && response.status !== 308) return response
    const location = response.headers.get('location') ?? ''
    await response.body?.cancel()
    const next = URL.canParse(location, url.href) ? new URL(location, url.href) : undefined
    if (!next || !isHub(settings, next)) throw new RequestError('a redirect without a valid URL')
    url = next
  }
  throw new RequestError(`more than ${MOST_REDIRECTS} redirects`)
}

/** An address below the endpoint, or one that the hub gave. `fetch` refuses URLs with credentials, and its error shows the URL. */
function checkedUrl({ endpoint }: HubSettings, address: string): URL {
  const whole = address.startsWith('/') ? `${endpoint}${address}` : address
  const url = URL.canParse(whole) ? new URL(whole) : undefined
  if (!url || (url.protocol !== 'https:' && !(url.protocol === 'http:' && endpoint.startsWith('http:'))))
    throw new RequestError('the hub gave an address that is not valid')
  url.username = ''
  url.password = ''
  return url
}

/** One attempt to send bytes to a signed address. Status 403 means that the address has expired. */
export async function put(
  settings: HubSettings,
  address: string,
  body: Body,
  signal: AbortSignal | undefined,
): Promise<Answer['headers']> {
  const url = checkedUrl(settings, address)
  const answer = await attempt({
    timeouts: patientFor(settings),
    accepts: ACCEPTED,
    send: (stop, alive) => {
      const headers = new Headers({ 'user-agent': 'terge' })
      const init = bodyInit(body, headers, alive)
      return fetch(url.href, { method: 'PUT', headers, redirect: 'manual', signal: stop, ...init })
    },
    refusal: ({ status, headers }) =>
      new RequestError(`status ${status} from the storage`, status, undefined, isPassing(status), wishOf(headers)),
    signal,
  })
  await bodyOf(answer, MOST_ANSWER)
  return answer.headers
}

/** The error of an answer. Its text can explain it, but must not show an address or the token. */
function refusal({ token, endpoint }: HubSettings, { status, headers, url }: Response): RequestError {
  const own = URL.canParse(url) && new URL(url).origin === new URL(endpoint).origin
  const code = own ? (headers.get('x-error-code') ?? undefined) : undefined
  const text = own ? (headers.get('x-error-message') ?? '') : ''
  const secret = /:\/\/|[^\x20-\x7e]|bearer|hf_/i.test(text) || (token !== undefined && text.includes(token))
  const shown = text !== '' && text.length <= 300 && !secret ? `: ${text}` : ''
  return new RequestError(
    `status ${status}${own ? '' : ' from the storage'}${shown}`,
    status,
    code,
    isPassing(status),
    wishOf(headers),
  )
}
