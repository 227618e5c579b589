/** The part of the S3 server that stores objects: uploads in parts, small objects, removal. */
import { createHash, randomBytes } from 'node:crypto'
import type http from 'node:http'
import type { S3Options, StoredObject } from './server.js'

/** An upload that is not completed. */
export interface OpenedUpload {
  readonly bucket: string
  readonly key: string
  readonly parts: Map<number, Buffer>
  started: string
}

export interface UploadAsk {
  readonly verb: 'create' | 'part' | 'complete' | 'abort' | 'parts' | 'uploads' | 'put' | 'delete'
  readonly key: string
  /** Of a part. */
  readonly number: number
  /** How many requests of this verb there were, with this one. */
  readonly count: number
}

export interface UploadDisturbance {
  readonly status?: number
  readonly code?: string
  readonly headers?: Record<string, string>
  /** The connection is cut before the body is read. */
  readonly cut?: boolean
  /** The request is done, but the connection is cut before the answer. */
  readonly lose?: boolean
  /** An error inside an answer with status 200, after white space. */
  readonly inside?: string
  /** One byte is stored differently. */
  readonly damage?: boolean
  /** The ETag of the answer. */
  readonly etag?: string
  /** Called before the request is done. */
  readonly before?: () => void
  /** The request is done after this. */
  readonly after?: Promise<unknown>
}

const md5 = (bytes: Uint8Array): Buffer => createHash('md5').update(bytes).digest()
const escapeXml = (text: string): string => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`)
const HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'

export async function readBody(request: http.IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of request) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

function verbOf(method: string, key: string, query: URLSearchParams): UploadAsk['verb'] | undefined {
  if (method === 'POST') return query.has('uploads') ? 'create' : 'complete'
  if (method === 'PUT') return query.has('uploadId') ? 'part' : 'put'
  if (method === 'DELETE') return query.has('uploadId') ? 'abort' : 'delete'
  if (method === 'GET' && query.has('uploadId')) return 'parts'
  return method === 'GET' && key === '' && query.has('uploads') ? 'uploads' : undefined
}

export interface Uploads {
  readonly open: Map<string, OpenedUpload>
  /** Answers a request that stores something; false for others. */
  handle(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    url: URL,
    options: S3Options,
    refuse: (status: number, code: string) => void,
  ): boolean
}

/** Conditional requests and aws-chunked bodies are refused, as Swift does. */
export function uploads(): Uploads {
  const open = new Map<string, OpenedUpload>()
  const counts = new Map<string, number>()

  async function answer(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    { verb, bucket, key, query }: { verb: UploadAsk['verb']; bucket: string; key: string; query: URLSearchParams },
    options: S3Options,
    refuse: (status: number, code: string) => void,
  ): Promise<void> {
    const count = (counts.get(verb) ?? 0) + 1
    counts.set(verb, count)
    const number = Number(query.get('partNumber') ?? 0)
    const { status, code, headers, cut, lose, inside, damage, etag, before, after } =
      options.disturbUpload?.({ verb, key, number, count }) ?? {}
    if (cut) return void request.socket.destroy()
    const body = await readBody(request)
    before?.()
    await after
    if (request.headers['if-none-match'] || request.headers['content-encoding'] === 'aws-chunked')
      return refuse(501, 'NotImplemented')
    const sum = request.headers['x-amz-content-sha256']
    if (sum !== 'UNSIGNED-PAYLOAD' && options.keys && createHash('sha256').update(body).digest('hex') !== sum)
      return refuse(400, 'XAmzContentSHA256Mismatch')
    const digest = request.headers['content-md5']
    if (digest !== undefined && md5(body).toString('base64') !== digest) return refuse(400, 'BadDigest')
    for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value)
    if (status !== undefined) return refuse(status, code ?? 'SlowDown')
    const done = (text = '', tag?: string): void => {
      if (lose) return void response.socket!.destroy()
      if (tag !== undefined) response.setHeader('etag', `"${etag ?? tag}"`)
      response.writeHead(verb === 'abort' || verb === 'delete' ? 204 : 200)
      response.end(text)
    }
    const objects = options.buckets[bucket]!
    const id = query.get('uploadId') ?? ''
    const upload = open.get(id)
    if (id !== '' && (!upload || upload.key !== key)) return refuse(404, 'NoSuchUpload')
    if (verb === 'create') {
      const made = randomBytes(12).toString('base64url')
      open.set(made, { bucket, key, parts: new Map(), started: new Date().toISOString() })
      return done(`${HEAD}<InitiateMultipartUploadResult><UploadId>${made}</UploadId></InitiateMultipartUploadResult>`)
    }
    if (verb === 'part') {
      const stored = Buffer.from(body)
      if (damage) stored[0]! ^= 1
      upload!.parts.set(number, stored)
      return done('', md5(stored).toString('hex'))
    }
    if (verb === 'put') {
      objects[key] = { bytes: body }
      return done('', md5(body).toString('hex'))
    }
    if (verb === 'delete') {
      delete objects[key]
      return done()
    }
    if (verb === 'abort') {
      open.delete(id)
      return done()
    }
    if (verb === 'parts') {
      const after = Number(query.get('part-number-marker') ?? 0)
      const all = [...upload!.parts].filter(([part]) => part > after).sort(([a], [b]) => a - b)
      const shown = all.slice(0, options.page ?? 1000)
      const parts = shown.map(
        ([part, bytes]) =>
          `<Part><PartNumber>${part}</PartNumber><ETag>&quot;${md5(bytes).toString('hex')}&quot;</ETag><Size>${bytes.length}</Size></Part>`,
      )
      return done(
        `${HEAD}<ListPartsResult><IsTruncated>${all.length > shown.length}</IsTruncated>${parts.join('')}</ListPartsResult>`,
      )
    }
    if (verb === 'uploads') {
      const prefix = query.get('prefix') ?? ''
      const found = [...open].filter(([, one]) => one.bucket === bucket && one.key.startsWith(prefix))
      const listed = found.map(
        ([made, one]) =>
          `<Upload><Key>${escapeXml(encodeURIComponent(one.key))}</Key><UploadId>${made}</UploadId><Initiated>${one.started}</Initiated></Upload>`,
      )
      return done(
        `${HEAD}<ListMultipartUploadsResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>${listed.join('')}</ListMultipartUploadsResult>`,
      )
    }
    if (inside !== undefined)
      return void response.writeHead(200).end(`${HEAD}   \n  <Error><Code>${inside}</Code><Message>m</Message></Error>`)
    const asked = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>&quot;([^&]*)&quot;/g)]
    const parts = asked.map(([, part, tag]) => [upload!.parts.get(Number(part)), tag] as const)
    if (parts.length === 0 || parts.some(([bytes, tag]) => !bytes || (md5(bytes).toString('hex') !== tag && !etag)))
      return refuse(400, 'InvalidPart')
    const tag = `${md5(Buffer.concat(parts.map(([bytes]) => md5(bytes!)))).toString('hex')}-${parts.length}`
    objects[key] = { bytes: Buffer.concat(parts.map(([bytes]) => bytes!)), etag: tag } satisfies StoredObject
    open.delete(id)
    done(`${HEAD}  \n <CompleteMultipartUploadResult><ETag>&quot;${tag}&quot;</ETag></CompleteMultipartUploadResult>`)
  }

  return {
    open,
    handle(request, response, url, options, refuse) {
      const [bucket = '', ...rest] = url.pathname.slice(1).split('/').map(decodeURIComponent)
      const key = rest.join('/')
      const verb = verbOf(request.method!, key, url.searchParams)
      if (!verb) return false
      answer(request, response, { verb, bucket, key, query: url.searchParams }, options, refuse).catch(() =>
        response.destroy(),
      )
      return true
    },
  }
}
