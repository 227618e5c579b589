/** The requests of uploads in parts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html */
import { createHash } from 'node:crypto'
import type { Body } from '../../remote/bodies.js'
import { bodyOf, patiently, RequestError } from '../../remote/request.js'
import type { Answer } from '../../remote/types.js'
import type { ReceivedPart } from '../../remote/upload.js'
import { bare, isSafe, s3Request } from '../request.js'
import type { S3Settings } from '../settings.js'
import { childText, type Element, parseXml } from '../xml.js'

/** An object, and how it is reached. */
export interface S3Target {
  readonly settings: S3Settings
  readonly bucket: string
  readonly key: string
  readonly signal?: AbortSignal | undefined
}

/** A store that is overloaded can refuse for a while: about 40 seconds of waiting. */
export const MOST_REFUSALS = 15
/** Maximum bytes of an answer. A page of parts has about 300 KB. */
const MOST_ANSWER = 4 * 2 ** 20

/** S3's limits: at most 10,000 parts, and at least 5 MiB for all but the last one. */
const MOST_PARTS = 10_000
const MIB = 2 ** 20
const PART = 64 * MIB

/** The size of the parts of a file, in bytes. `wanted` is for tests. */
export const partSizeOf = (size: number, wanted = PART): number =>
  size <= wanted * MOST_PARTS ? wanted : Math.ceil(size / MOST_PARTS / MIB) * MIB

/** Starts an upload, and returns its identifier. */
export async function createUpload(target: S3Target): Promise<string> {
  const root = await answered({ ...target, method: 'POST', query: { uploads: '' } })
  const id = childText(root, 'UploadId') ?? ''
  if (root.name !== 'InitiateMultipartUploadResult' || !/^[\x21-\x7e]{1,2000}$/.test(id))
    throw new RequestError('the answer has no upload')
  return id
}

/** One attempt to send a part. The store checks the MD5, which is signed, and so do we. */
export async function sendPart(
  { settings, bucket, key, signal }: S3Target,
  id: string,
  number: number,
  body: Body,
  md5: Buffer,
): Promise<ReceivedPart> {
  const answer = await s3Request(settings, {
    ...{ bucket, key, body, signal, method: 'PUT' },
    query: { partNumber: String(number), uploadId: id },
    headers: { 'content-md5': md5.toString('base64') },
  })
  await drained(answer)
  const etag = answer.headers.get('etag') ?? ''
  if (!/^[\x21-\x7e]{1,200}$/.test(etag)) throw new RequestError('the answer has no ETag', undefined, undefined, true)
  const hex = md5.toString('hex')
  refuseOtherBytes(etag, hex, answer.headers.get('x-amz-server-side-encryption'))
  return { etag: etag.startsWith('"') ? etag : `"${etag}"`, md5: hex }
}

const isMd5 = (etag: string): boolean => /^[0-9a-f]{32}$/i.test(bare(etag))

/** With keys of a key service, ETags look like MD5 but are not. */
function refuseOtherBytes(etag: string, md5: string, encryption: string | null): void {
  if (!isMd5(etag) || (encryption ?? '').startsWith('aws:') || bare(etag).toLowerCase() === md5) return
  throw new RequestError('the store received other bytes than were sent', undefined, 'BadDigest', true)
}

/** The ETag of an object that consists of these parts, without quotation marks. */
export function etagOfParts(parts: readonly ReceivedPart[]): string {
  const hash = createHash('md5')
  for (const { etag, md5 } of parts) hash.update(isMd5(etag) ? bare(etag) : md5, 'hex')
  return `${hash.digest('hex')}-${parts.length}`
}

/**
 * Makes the object of an upload visible. A store sends white space while it works, and can answer 200 with an error inside. If the
 * answer was lost, the upload is gone at the next attempt: then the error has the code `NoSuchUpload`.
 */
export async function completeUpload(target: S3Target, id: string, parts: readonly ReceivedPart[]): Promise<void> {
  const text = parts
    .map(
      ({ etag }, index) =>
        `<Part><PartNumber>${index + 1}</PartNumber><ETag>${etag.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')}</ETag></Part>`,
    )
    .join('')
  const xml = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${text}</CompleteMultipartUpload>`
  const body = new TextEncoder().encode(xml)
  const root = await answered({ ...target, method: 'POST', query: { uploadId: id }, body })
  if (root.name !== 'CompleteMultipartUploadResult') throw new RequestError('the answer is not that of an upload')
}

/** Removes an upload and its parts. No error if it is gone. */
export async function abortUpload({ settings, bucket, key, signal }: S3Target, id: string): Promise<void> {
  await gone(() => s3Request(settings, { bucket, key, signal, method: 'DELETE', query: { uploadId: id } }), signal)
}

/** Removes an object. No error if it is gone. */
export async function deleteObject({ settings, bucket, key, signal }: S3Target): Promise<void> {
  await gone(() => s3Request(settings, { bucket, key, signal, method: 'DELETE' }), signal)
}

/** Reads an answer without content to its end, so that the connection can be used again. */
const drained = (answer: Answer): Promise<Buffer> => bodyOf(answer, MOST_ANSWER)

async function gone(request: () => Promise<Answer>, signal: AbortSignal | undefined): Promise<void> {
  try {
    await patiently(async () => drained(await request()), { most: MOST_REFUSALS, signal })
  } catch (error) {
    if (!(error instanceof RequestError) || error.status !== 404 || error.code === 'NoSuchBucket') throw error
  }
}

/** Stores a small object, visible at once. */
export async function putObject({ settings, bucket, key, signal }: S3Target, content: Uint8Array): Promise<void> {
  const md5 = createHash('md5').update(content).digest()
  const sum = createHash('sha256').update(content).digest('hex')
  const headers = { 'content-md5': md5.toString('base64'), 'x-amz-content-sha256': sum }
  await patiently(
    async () => {
      const answer = await s3Request(settings, { bucket, key, signal, method: 'PUT', body: content, headers })
      await drained(answer)
      const encryption = answer.headers.get('x-amz-server-side-encryption')
      refuseOtherBytes(answer.headers.get('etag') ?? '', md5.toString('hex'), encryption)
    },
    { most: MOST_REFUSALS, signal },
  )
}

/** A part that the store has. */
export interface ListedPart {
  /** Without quotation marks. */
  readonly etag: string
  readonly size: number
}

/** The parts of an upload by their numbers; undefined if there is no such upload. */
export async function listParts(target: S3Target, id: string): Promise<ReadonlyMap<number, ListedPart> | undefined> {
  const found = new Map<number, ListedPart>()
  for (let after = 0; ; ) {
    let root: Element
    try {
      const query = { uploadId: id, 'max-parts': '1000', 'part-number-marker': String(after) }
      root = await answered({ ...target, method: 'GET', query })
    } catch (error) {
      if (!(error instanceof RequestError)) throw error
      // Stores refuse an identifier that is not one of theirs.
      if (error.code === 'NoSuchUpload' || error.status === 400) return undefined
      throw error
    }
    if (root.name !== 'ListPartsResult') throw new RequestError('the answer is not a list of parts')
    for (const part of root.children.filter(({ name }) => name === 'Part'))
      found.set(Number(childText(part, 'PartNumber')), {
        etag: bare(childText(part, 'ETag') ?? ''),
        size: Number(childText(part, 'Size')),
      })
    const last = Math.max(after, ...found.keys())
    if (childText(root, 'IsTruncated') !== 'true' || last <= after) return found
    after = last
  }
}

/** An upload that is not completed. */
export interface OpenUpload {
  readonly key: string
  readonly id: string
  /** When it was started, in milliseconds; NaN if the store does not say. */
  readonly started: number
}

/** Maximum uploads of one list. */
const MOST_UPLOADS = 10_000

/** The uploads below a prefix that are not completed. */
export async function listUploads(target: S3Target): Promise<OpenUpload[]> {
  const found: OpenUpload[] = []
  for (let after: Record<string, string> = {}; found.length < MOST_UPLOADS; ) {
    const { key: prefix, ...bucket } = target
    const query = { uploads: '', prefix, 'encoding-type': 'url', ...after }
    const root = await answered({ ...bucket, method: 'GET', query })
    if (root.name !== 'ListMultipartUploadsResult') throw new RequestError('the answer is not a list of uploads')
    const coded = childText(root, 'EncodingType') === 'url'
    for (const one of root.children.filter(({ name }) => name === 'Upload')) {
      const [key = '', id = '', started = ''] = ['Key', 'UploadId', 'Initiated'].map((name) => childText(one, name))
      found.push({ key: coded ? decoded(key) : key, id, started: Date.parse(started) })
    }
    const marker = {
      'key-marker': markerOf(root, coded),
      'upload-id-marker': childText(root, 'NextUploadIdMarker') ?? '',
    }
    const same =
      after['key-marker'] === marker['key-marker'] && after['upload-id-marker'] === marker['upload-id-marker']
    if (childText(root, 'IsTruncated') !== 'true' || marker['key-marker'] === '' || same) break
    after = marker
  }
  return found
}

const markerOf = (root: Element, coded: boolean): string => {
  const key = childText(root, 'NextKeyMarker') ?? ''
  return coded ? decoded(key) : key
}

function decoded(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '))
  } catch {
    throw new RequestError('the list of uploads has an invalid key')
  }
}

/** An answer as XML. An error inside an answer with status 200 counts like any other. */
function answered({
  settings,
  signal,
  ...request
}: Omit<S3Target, 'key'> & {
  readonly key?: string
  readonly method: 'GET' | 'POST'
  readonly query: Readonly<Record<string, string>>
  readonly body?: Uint8Array
}): Promise<Element> {
  return patiently(
    async () => {
      const answer = await s3Request(settings, { ...request, signal })
      const text = (await bodyOf(answer, MOST_ANSWER)).toString('utf8')
      let root: Element
      try {
        root = parseXml(text)
      } catch {
        throw new RequestError('the answer is cut or not valid XML', undefined, undefined, true)
      }
      if (root.name !== 'Error') return root
      const code = childText(root, 'Code') ?? ''
      const shown = isSafe(settings, code) ? code : undefined
      throw new RequestError(`an error${shown === undefined ? '' : ` (${shown})`}`, undefined, shown, !FINAL.has(code))
    },
    { most: MOST_REFUSALS, signal },
  )
}

/** Errors that another attempt does not change. */
const FINAL = new Set([
  'NoSuchUpload',
  'InvalidPart',
  'InvalidPartOrder',
  'EntityTooSmall',
  'AccessDenied',
  'MalformedXML',
])
