/**
 * The cache of objects, laid out like the hub's:
 *
 *     s3--BUCKET--STORE/blobs/CONTENT              contents; the name depends on key, size and ETag
 *     s3--BUCKET--STORE/snapshots/REVISION/PATH    a link to the content
 *
 * STORE is a digest, so that no path shows the address of a store. REVISION is a digest of a model's names, sizes and ETags.
 */
import { createHash } from 'node:crypto'
import path from 'node:path'
import type { S3File } from './list.js'
import { cacheFolder, endpointOf } from './settings.js'

const digestOf = (value: unknown, digits: number): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, digits)

export interface S3Place {
  readonly cache: string
  readonly bucket: string
  readonly endpoint?: string | undefined
}

const bucketName = ({ bucket, endpoint }: S3Place): string =>
  `s3--${bucket.replace(/[^\w.-]/g, '_')}--${digestOf([bucket, endpoint ?? ''], 16)}`

const bucketFolder = (place: S3Place): string => path.join(place.cache, bucketName(place))

export const blobName = ({ key, size, etag }: S3File): string => digestOf([key, size, etag], 64)

export const blobFile = (place: S3Place, file: S3File): string =>
  path.join(bucketFolder(place), 'blobs', blobName(file))

export const lockFolder = (place: S3Place, file: S3File): string =>
  path.join(place.cache, '.locks', bucketName(place), blobName(file))

/** What identifies the objects of a model, in 40 digits as a commit has. */
export const revisionOf = (prefix: string, files: readonly S3File[]): string =>
  digestOf([prefix, files.map(({ name, size, etag }) => [name, size, etag]).sort(([a], [b]) => (a! < b! ? -1 : 1))], 40)

export const snapshotFolder = (place: S3Place, revision: string): string =>
  path.join(bucketFolder(place), 'snapshots', revision)

/** The cache folder for a model at a revision, whether it exists or not. */
export const cachedPlace = async (bucket: string, revision: string): Promise<string> =>
  snapshotFolder({ cache: cacheFolder(), bucket, endpoint: await endpointOf() }, revision)
