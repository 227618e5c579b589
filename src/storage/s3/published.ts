/** What a store publishes of an object's content. */
import { createHash } from 'node:crypto'
import type { AnswerHeaders, Check } from '../remote/types.js'
import { type CrcName, crc } from './crc.js'
import { bare } from './request.js'

export interface Published {
  /** 64 hexadecimal digits. */
  readonly sha256?: string
  /** Absent if the store publishes nothing, so that only the length can be checked. */
  readonly check?: () => Check
}

const hashed = (name: string, encoding: 'hex' | 'base64', wanted: string) => (): Check => {
  const hash = createHash(name)
  return { update: (bytes) => void hash.update(bytes), matches: () => hash.digest(encoding) === wanted }
}

const summed = (name: CrcName, wanted: string) => (): Check => {
  const sum = crc(name)
  return { update: sum.update, matches: () => sum.text() === wanted }
}

export const sha256Check = (wanted: string): (() => Check) => hashed('sha256', 'hex', wanted)

/** A content of which only the length is known. */
export const lengthOnly = (): Check => ({ update() {}, matches: () => true })

/** Reads the headers of an answer to HEAD: a stored checksum of the whole object, or the MD5 that the ETag is. */
export function publishedIn(headers: AnswerHeaders, etag: string, bucket: string): Published {
  const sum = (name: string): string | undefined => {
    const text = headers.get(`x-amz-checksum-${name}`) ?? ''
    // A sum of the sums of parts ends in the number of parts.
    const whole = headers.get('x-amz-checksum-type') !== 'COMPOSITE' && /^[A-Za-z0-9+/]+=*$/.test(text)
    return whole ? text : undefined
  }
  const sha256 = Buffer.from(sum('sha256') ?? '', 'base64').toString('hex')
  if (sha256.length === 64) return { sha256, check: sha256Check(sha256) }
  const sha1 = sum('sha1')
  if (sha1 !== undefined) return { check: hashed('sha1', 'base64', sha1) }
  const md5 = bare(etag).toLowerCase()
  if (/^[0-9a-f]{32}$/.test(md5) && !hasOwnEtags(headers, bucket)) return { check: hashed('md5', 'hex', md5) }
  for (const name of ['crc64nvme', 'crc32c', 'crc32'] as const) {
    const wanted = sum(name)
    if (wanted !== undefined) return { check: summed(name, wanted) }
  }
  return {}
}

/** With keys of a key service or of the client, and in directory buckets, ETags look like MD5 but are not. */
const hasOwnEtags = (headers: AnswerHeaders, bucket: string): boolean =>
  (headers.get('x-amz-server-side-encryption') ?? '').startsWith('aws:') ||
  headers.get('x-amz-server-side-encryption-customer-algorithm') !== null ||
  bucket.endsWith('--x-s3')
