/** Signed requests to an S3-compatible store. No redirects: a store answers itself, or names the region of the bucket. */
import { AwsV4Signer } from 'aws4fetch'
import { type Body, bodyInit } from '../remote/bodies.js'
import { attempt, isPassing, RequestError, type Timeouts, wishOf } from '../remote/request.js'
import type { Answer, Ask } from '../remote/types.js'
import { isRegion, type S3Settings } from './settings.js'
import { textIn } from './xml.js'

export interface S3Request extends Ask {
  readonly bucket: string
  /** Of an object; absent for requests about the bucket. */
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  /** The store answers only if the object still has this ETag. */
  readonly etag?: string
  /** HEAD asks for published checksums as well. */
  readonly method?: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  readonly body?: Body
  /** Signed as well. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Maximum bytes that are read of an answer with an error. */
const MOST_ERROR = 2 ** 16

/** The regions of buckets that are not in the region of the settings. */
const regions = new Map<string, string>()
const regionKey = ({ endpoint = '' }: S3Settings, bucket: string): string => `${endpoint}\n${bucket}`

/** RFC 3986, as signatures need it. */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)

/** The address of an object or a bucket. Buckets with dots have no certificate for a host of their own. */
function addressOf({ endpoint }: S3Settings, region: string, { bucket, key, query }: S3Request): string {
  const path = key === undefined ? '' : key.split('/').map(encode).join('/')
  const domain = `s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`
  const base =
    endpoint !== undefined
      ? `${endpoint}/${encode(bucket)}/`
      : /^[a-z0-9-]+$/.test(bucket)
        ? `https://${bucket}.${domain}/`
        : `https://${domain}/${encode(bucket)}/`
  const asked = Object.entries(query ?? {}).map(([name, value]) => `${encode(name)}=${encode(value)}`)
  return `${base}${path}${asked.length > 0 ? `?${asked.join('&')}` : ''}`
}

const ACCEPTED = [200, 204, 206]

/** A store answers only after it has stored what it was sent. */
const STORING = 6
const patientFor = ({ answerTimeout, byteTimeout }: S3Settings): Timeouts => ({
  answerTimeout: answerTimeout * STORING,
  byteTimeout: byteTimeout * STORING,
})

/** One attempt. Throws a `RequestError` for an object with another ETag (status 412). */
export async function s3Request(settings: S3Settings, request: S3Request): Promise<Answer> {
  const { bucket, etag, method = 'GET', range, body, signal } = request
  const region = regions.get(regionKey(settings, bucket)) ?? settings.region
  const asked: Record<string, string> = { ...request.headers }
  if (etag !== undefined) asked['if-match'] = etag
  if (method === 'HEAD') asked['x-amz-checksum-mode'] = 'ENABLED'
  const url = addressOf(settings, region, request)
  const { credentials } = settings
  const headers = credentials ? await signed(credentials, { method, url, region, headers: asked }) : new Headers(asked)
  // Not signed: `fetch` changes the encodings that it accepts.
  headers.set('user-agent', 'terge')
  if (range)
    headers.set('range', `bytes=${range.start}-${range.length === undefined ? '' : range.start + range.length - 1}`)
  else headers.set('accept-encoding', 'identity')
  const answer = await attempt({
    timeouts: method === 'GET' || method === 'HEAD' ? settings : patientFor(settings),
    accepts: ACCEPTED,
    send: (stop, alive) =>
      fetch(url, { method, headers, redirect: 'manual', signal: stop, ...bodyInit(body, headers, alive) }),
    refusal: (response) => refusal(settings, bucket, region, response),
    signal,
  })
  // Some stores ignore If-Match.
  const found = answer.headers.get('etag')
  if (etag === undefined || found === null || bare(found) === bare(etag)) return answer
  answer.close()
  throw new RequestError('the object has changed', 412)
}

/** An ETag without its quotation marks. */
export const bare = (etag: string): string => etag.replace(/^"|"$/g, '')

async function signed(
  credentials: NonNullable<S3Settings['credentials']>,
  request: { method: string; url: string; region: string; headers: Record<string, string> },
): Promise<Headers> {
  const { headers } = await new AwsV4Signer({ ...request, ...credentials, service: 's3' }).sign()
  return headers
}

/** Makes the error of an answer. Of its text, only the code is used: servers can repeat keys and addresses in it. */
async function refusal(
  settings: S3Settings,
  bucket: string,
  region: string,
  response: Response,
): Promise<RequestError> {
  const { status, headers } = response
  const text = await startOf(response)
  const code = textIn(text, 'Code')
  const own = headers.get('x-amz-bucket-region') ?? textIn(text, 'Region') ?? ''
  const elsewhere = isRegion(own) && own !== region && [301, 307, 400].includes(status)
  if (elsewhere) regions.set(regionKey(settings, bucket), own)
  const passing = elsewhere || isPassing(status) || code === 'RequestTimeout' || code === 'SlowDown'
  const shown = code !== undefined && isSafe(settings, code) ? code : undefined
  return new RequestError(
    `status ${status}${shown === undefined ? '' : ` (${shown})`}`,
    status,
    shown,
    passing,
    wishOf(headers),
  )
}

/** Whether a text of the server is a code, and not something that must not be shown. */
export const isSafe = ({ credentials, endpoint }: S3Settings, code: string): boolean =>
  /^[A-Za-z.]{2,60}$/.test(code) &&
  !Object.values(credentials ?? {}).some((secret) => code.includes(secret) || secret.includes(code)) &&
  !(endpoint ?? '').includes(code)

async function startOf(response: Response): Promise<string> {
  const reader = response.body?.getReader()
  const pieces: Uint8Array[] = []
  for (let size = 0; size < MOST_ERROR; ) {
    const piece = await reader?.read()
    if (!piece || piece.done) break
    pieces.push(piece.value)
    size += piece.value.length
  }
  return Buffer.concat(pieces).toString('utf8')
}
