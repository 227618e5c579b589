/** Opens a model in an S3-compatible store: downloads only its headers and small files. */
import path from 'node:path'
import { mapEach } from '../../core/collections/eachOf.js'
import { type Diagnostic, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { leadsDown } from '../../storage/leadsDown.js'
import type { Fetch } from '../../storage/remote/types.js'
import { revisionOf } from '../../storage/s3/cache.js'
import type { S3Subject } from '../../storage/s3/faults.js'
import { findObject, listObjects, type S3File } from '../../storage/s3/list.js'
import { cacheOf, type S3Settings, s3Settings } from '../../storage/s3/settings.js'
import { type S3Store, s3Store } from '../../storage/s3/store.js'
import { folderContainer, hasWholeWeights } from '../containers/index.js'
import { listsModules } from '../modules.js'
import { openCheckpoint } from '../open.js'
import { isWeights } from '../sidecarNames.js'
import { ADAPTER_CONFIG } from '../sidecars.js'
import type { Checkpoint } from '../types.js'
import { inParts, makeCached, type RemoteModel } from './model.js'

/** A model in a store, as a recipe names it. */
export interface S3Reference {
  /** As written, for messages and lineage. */
  readonly reference: string
  readonly bucket: string
  /** A folder or an object, without a slash at the end; empty for the whole bucket. */
  readonly key: string
  /** A folder below it. */
  readonly subfolder?: string | undefined
  /** The digest of the only file, 64 hexadecimal digits. */
  readonly sha256?: string | undefined
  /** Digests of files by name, from a lock. */
  readonly pinned?: ReadonlyMap<string, string> | undefined
  /** As in `OpenOptions`. */
  readonly adapter?: boolean | undefined
}

/** Parallel questions about objects. */
const PARALLEL = 8

/**
 * Opens a model in a store. Errors: those of `s3Settings`, `listObjects`, `fetchContent` and `openCheckpoint`;
 * `s3-not-found`, `path-escape`, `unsupported-format`. Warning: `s3-unverified`.
 */
export async function openS3(asked: S3Reference, signal?: AbortSignal): Promise<RemoteModel> {
  const { reference, bucket, adapter } = asked
  const key = placeOf(asked)
  const settings = await s3Settings()
  const subject: S3Subject = { reference, bucket }
  const only = isWeights(path.posix.basename(key)) ? await single(settings, subject, key, signal) : undefined
  const files = only ?? (await inFolder(settings, subject, key, signal))
  const names = files.map(({ name }) => name)
  const parted = hasWholeWeights(names) ? undefined : folderContainer(names)
  if (parted && !only && !adapter) throw inParts(parted, reference, `aws s3 cp --recursive ${reference} DIR`)
  const revision = revisionOf(key, files)
  const pinned = new Map(asked.pinned)
  if (asked.sha256 !== undefined)
    for (const { name } of files.filter(({ name }) => isWeights(name))) pinned.set(name, asked.sha256)
  const store = s3Store({ settings, subject, revision, files, single: only !== undefined, pinned, signal })
  await makeCached(store.folder, cacheOf(settings))
  const place = only ? path.join(store.folder, only[0]!.name) : store.folder
  const opened = await openCheckpoint(reference, place, { store, adapter, single: only !== undefined })
  const etags = new Map(files.map(({ name, etag }) => [name, etag.replace(/^"|"$/g, '')]))
  const checkpoint: Checkpoint = {
    ...opened,
    revision,
    files: opened.files.map((file) => ({ ...file, etag: etags.get(file.name)! })),
  }
  const { fetches, unverified } = await fetchesFor(store, pinned, checkpoint)
  const warnings = unverified.length > 0 ? [lengthsOnly(reference, unverified)] : []
  return { checkpoint, fetches, warnings: [...warnings, ...(checkpoint.warnings ?? [])] }
}

function placeOf({ reference, key, subfolder }: S3Reference): string {
  const inside = subfolder?.replace(/^\.\/+|\/+$/g, '') ?? ''
  if (inside !== '' && !leadsDown(inside))
    throw fault(
      'path-escape',
      `${reference}: ${quote(inside)} is not a folder below it`,
      'write its path relative to the model, without ..',
    )
  return [key, inside].filter((part) => part !== '').join('/')
}

/** The object of this key, and the configuration of an adapter beside it; undefined if there is no such object. */
async function single(
  settings: S3Settings,
  subject: S3Subject,
  key: string,
  signal: AbortSignal | undefined,
): Promise<S3File[] | undefined> {
  const name = path.posix.basename(key)
  if (!leadsDown(name)) return undefined
  const file = await findObject(settings, subject, key, signal)
  if (!file) return undefined
  const beside = await findObject(settings, subject, `${key.slice(0, -name.length)}${ADAPTER_CONFIG}`, signal)
  return beside ? [file, beside] : [file]
}

async function inFolder(
  settings: S3Settings,
  subject: S3Subject,
  key: string,
  signal: AbortSignal | undefined,
): Promise<S3File[]> {
  const prefix = key === '' ? '' : `${key}/`
  const direct = await listObjects(settings, subject, prefix, { signal })
  if (direct.length === 0)
    throw fault(
      's3-not-found',
      `${subject.reference}: there is no object or folder ${quote(key)} in the bucket ${quote(subject.bucket)}`,
      'check the spelling: keys are case-sensitive',
    )
  // The weights of a pipeline are in folders below it.
  const isPipeline = direct.some(({ name }) => listsModules(name))
  return isPipeline ? listObjects(settings, subject, prefix, { deep: true, signal }) : direct
}

/** What is to be downloaded, with published digests, and the files that have none. */
async function fetchesFor(
  store: S3Store,
  pinned: ReadonlyMap<string, string>,
  { files }: Checkpoint,
): Promise<{ readonly fetches: readonly Fetch[]; readonly unverified: readonly string[] }> {
  const unverified: string[] = []
  const fetches = await mapEach(files, PARALLEL, async ({ name, path: place, headerBytes, headerDigest }) => {
    const file = store.lacking.get(name)
    if (!file) return []
    const { sha256 = pinned.get(name), check } = await store.published(file)
    if (!check && sha256 === undefined) unverified.push(name)
    const known = sha256 === undefined ? file : { ...file, sha256 }
    const content = store.content(file)
    const { cache, target } = content
    const own = sha256 === undefined ? `s3 ${path.relative(cache.folder, target)}` : `sha256 ${sha256}`
    const identity = check || sha256 !== undefined ? { identity: own } : {}
    return [{ file: known, content, place, ...identity, headerBytes, headerDigest }]
  })
  return { fetches: fetches.flat(), unverified: unverified.sort() }
}

const lengthsOnly = (reference: string, names: readonly string[]): Diagnostic => ({
  severity: 'warning',
  code: 's3-unverified',
  message: `${reference}: the store publishes no checksum of ${names[0]}${names.length > 1 ? ` and ${names.length - 1} more` : ''}: terge checks only the length`,
  hint: 'pin digests with terge lock and run with --locked, or upload the files with a checksum (aws s3 cp --checksum-algorithm CRC64NVME)',
})
