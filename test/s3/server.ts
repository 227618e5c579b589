/** A small S3 server, which checks signatures by its own reading of the specification, and can simulate all kinds of failures. */
import { createHash, createHmac } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { type OpenedUpload, type UploadAsk, type UploadDisturbance, uploads } from './uploads.js'

export interface StoredObject {
  readonly bytes: Uint8Array
  /** Without quotation marks; the MD5 where absent. */
  readonly etag?: string
  /** Sent with answers to HEAD. */
  readonly headers?: Record<string, string>
}

export interface S3Seen {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  /** Bytes of body sent. */
  sent: number
}

export interface S3Disturbance {
  readonly body?: Buffer
  /** The connection is cut after so many bytes. */
  readonly cut?: number
  /** The connection stalls after so many bytes. */
  readonly stall?: number
  readonly status?: number
  readonly code?: string
  readonly headers?: Record<string, string>
  /** The answer comes after this. */
  readonly after?: Promise<unknown>
}

export interface S3Options {
  /** By bucket, then by key. */
  readonly buckets: Record<string, Record<string, StoredObject>>
  /** Absent: anybody may read. */
  readonly keys?: { readonly id: string; readonly secret: string; readonly token?: string }
  readonly region?: string
  /** Most entries of a page. */
  readonly page?: number
  readonly disturb?: (request: {
    readonly method: string
    /** Empty for a list. */
    readonly key: string
    readonly start: number
    readonly body: Buffer
    /** How many answers for this key and method there were, with this one. */
    readonly count: number
  }) => S3Disturbance | undefined
  readonly ignoresIfMatch?: boolean
  readonly disturbUpload?: (request: UploadAsk) => UploadDisturbance | undefined
}

export interface S3Server {
  readonly url: string
  readonly seen: S3Seen[]
  options: S3Options
  /** Uploads that are not completed, by their identifiers. */
  readonly uploads: Map<string, OpenedUpload>
  /** Bytes of objects sent. */
  readonly sent: () => number
  readonly close: () => Promise<void>
}

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex')
export const etagOf = ({ bytes, etag }: StoredObject): string => etag ?? md5(bytes)
const escapeXml = (text: string): string => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`)
const encode = (text: string): string =>
  [...Buffer.from(text)]
    .map((byte) =>
      /[A-Za-z0-9._~-]/.test(String.fromCharCode(byte))
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    )
    .join('')
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** Why a signature is refused (AWS Signature Version 4, in headers); undefined if it is right. */
function signatureProblem(
  request: http.IncomingMessage,
  { keys, region = 'us-east-1' }: S3Options,
): string | undefined {
  if (!keys) return undefined
  const { headers } = request
  const authorization = headers.authorization ?? ''
  const found =
    /^AWS4-HMAC-SHA256 Credential=([^/]+(?:\/[^/]+)*?)\/(\d{8})\/([\w-]+)\/s3\/aws4_request, ?SignedHeaders=([\w;-]+), ?Signature=([0-9a-f]{64})$/.exec(
      authorization,
    )
  if (!found) return 'AccessDenied'
  const [, id, day, inRegion, names, signature] = found
  if (id !== keys.id) return 'InvalidAccessKeyId'
  if (inRegion !== region) return 'AuthorizationHeaderMalformed'
  if ((headers['x-amz-security-token'] ?? undefined) !== keys.token) return 'InvalidToken'
  const url = new URL(request.url!, 'http://s3')
  const signed = names!.split(';')
  const optional = ['if-match', 'content-md5'].filter((name) => headers[name] !== undefined)
  for (const needed of ['host', 'x-amz-date', 'x-amz-content-sha256', ...optional])
    if (!signed.includes(needed)) return 'AccessDenied'
  const query = [...url.searchParams].map(([name, value]) => `${encode(name)}=${encode(value)}`).sort()
  const canonical = [
    request.method,
    url.pathname.split('/').map(decodeURIComponent).map(encode).join('/'),
    query.join('&'),
    ...signed.map((name) => `${name}:${String(headers[name]).trim().replace(/ +/g, ' ')}`),
    '',
    names,
    headers['x-amz-content-sha256'],
  ].join('\n')
  const date = String(headers['x-amz-date'])
  const text = [
    'AWS4-HMAC-SHA256',
    date,
    `${day}/${region}/s3/aws4_request`,
    createHash('sha256').update(canonical).digest('hex'),
  ].join('\n')
  const key = ['s3', 'aws4_request'].reduce(hmac, hmac(hmac(`AWS4${keys.secret}`, day!), region))
  return hmac(key, text).toString('hex') === signature ? undefined : 'SignatureDoesNotMatch'
}

function listText(objects: Record<string, StoredObject>, url: URL, options: S3Options): string {
  const asked = (name: string): string => url.searchParams.get(name) ?? ''
  const [prefix, delimiter] = [asked('prefix'), asked('delimiter')]
  const entries = new Map<string, StoredObject | undefined>()
  for (const key of Object.keys(objects).sort()) {
    if (!key.startsWith(prefix)) continue
    const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    if (cut < 0) entries.set(key, objects[key])
    else entries.set(key.slice(0, cut + 1), undefined)
  }
  const most = Math.min(options.page ?? 1000, Number(asked('max-keys') || 1000))
  const start = Number(asked('continuation-token').replace('token/+', '') || 0)
  const shown = [...entries].slice(start, start + most)
  const coded = (key: string): string => escapeXml(asked('encoding-type') === 'url' ? encode(key) : key)
  const parts = shown.map(([key, object]) =>
    object
      ? `<Contents><Key>${coded(key)}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;${etagOf(object)}&quot;</ETag><Size>${object.bytes.length}</Size><Owner><ID>a</ID></Owner></Contents>`
      : `<CommonPrefixes><Prefix>${coded(key)}</Prefix></CommonPrefixes>`,
  )
  const more = start + most < entries.size
  const next = more ? `<NextContinuationToken>token/+${start + most}</NextContinuationToken>` : ''
  return `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><EncodingType>url</EncodingType><IsTruncated>${more}</IsTruncated>${next}${parts.join('')}</ListBucketResult>`
}

export async function startS3(start: S3Options): Promise<S3Server> {
  let options = start
  const seen: S3Seen[] = []
  const counts = new Map<string, number>()
  const stored = uploads()

  const refuse = (request: http.IncomingMessage, response: http.ServerResponse, status: number, code: string) => {
    // Real servers repeat the key and more.
    const { authorization = '', host } = request.headers
    response.writeHead(status, { 'content-type': 'application/xml' })
    response.end(
      request.method === 'HEAD'
        ? undefined
        : `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${escapeXml(authorization)} ${host}</Message><AWSAccessKeyId>${escapeXml(authorization)}</AWSAccessKeyId></Error>`,
    )
  }

  const answer = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<unknown> => {
    const entry: S3Seen = { method: request.method!, url: request.url!, headers: request.headers, sent: 0 }
    seen.push(entry)
    const url = new URL(request.url!, 'http://s3')
    const [bucket = '', ...rest] = url.pathname.slice(1).split('/').map(decodeURIComponent)
    const key = rest.join('/')
    const problem = signatureProblem(request, options)
    if (problem === 'AuthorizationHeaderMalformed')
      response.setHeader('x-amz-bucket-region', options.region ?? 'us-east-1')
    if (problem) return refuse(request, response, problem === 'AuthorizationHeaderMalformed' ? 400 : 403, problem)
    const objects = options.buckets[bucket]
    if (!objects) return refuse(request, response, 404, 'NoSuchBucket')
    if (stored.handle(request, response, url, options, (status, code) => refuse(request, response, status, code)))
      return undefined
    const counted = `${request.method} ${key}`
    counts.set(counted, (counts.get(counted) ?? 0) + 1)
    const object = objects[key]
    const whole = key === '' ? Buffer.from(listText(objects, url, options)) : object?.bytes
    if (!whole) return refuse(request, response, 404, 'NoSuchKey')
    const etag = object ? etagOf(object) : undefined
    const match = request.headers['if-match']
    if (object && !options.ignoresIfMatch && match !== `"${etag}"`)
      return refuse(request, response, 412, 'PreconditionFailed')
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
    const from = Number(first ?? 0)
    if (first !== undefined && from >= whole.length) return refuse(request, response, 416, 'InvalidRange')
    const to = last ? Math.min(Number(last) + 1, whole.length) : whole.length
    const plain = Buffer.from(whole.subarray(from, to))
    const about = { method: request.method!, key, start: from, body: plain, count: counts.get(counted)! }
    const { body = plain, cut, stall, status, code, headers, after } = options.disturb?.(about) ?? {}
    await after
    if (status !== undefined) {
      for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value)
      return refuse(request, response, status, code ?? 'SlowDown')
    }
    response.writeHead(first === undefined ? 200 : 206, {
      'content-length': body.length,
      ...(etag === undefined ? {} : { etag: `"${etag}"` }),
      ...(first === undefined ? {} : { 'content-range': `bytes ${from}-${to - 1}/${whole.length}` }),
      ...(request.method === 'HEAD' && request.headers['x-amz-checksum-mode'] === 'ENABLED' ? object?.headers : {}),
      ...headers,
    })
    if (request.method === 'HEAD') return response.end()
    const part = body.subarray(0, cut ?? stall ?? body.length)
    if (object) entry.sent = part.length
    if (cut !== undefined) response.write(part, () => response.destroy())
    else if (stall !== undefined) response.write(part)
    else response.end(part)
    return undefined
  }
  const server = http.createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    uploads: stored.open,
    get options() {
      return options
    },
    set options(next: S3Options) {
      options = next
    },
    sent: () => seen.reduce((sum, { sent }) => sum + sent, 0),
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
