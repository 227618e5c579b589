/** The objects of one model. */
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { patiently } from '../remote/request.js'
import { type RemoteStore, remoteStore } from '../remote/store.js'
import type { Content } from '../remote/types.js'
import { blobFile, lockFolder, snapshotFolder } from './cache.js'
import { type S3Subject, s3Fault } from './faults.js'
import type { S3File } from './list.js'
import { lengthOnly, type Published, publishedIn, sha256Check } from './published.js'
import { s3Request } from './request.js'
import { cacheOf, type S3Settings } from './settings.js'

export interface S3Objects {
  readonly settings: S3Settings
  readonly subject: S3Subject
  readonly revision: string
  readonly files: readonly S3File[]
  /** Whether the model is one file. */
  readonly single: boolean
  /** By name, digests that a lock or the recipe gives. */
  readonly pinned: ReadonlyMap<string, string>
  readonly signal?: AbortSignal | undefined
}

export interface S3Store extends RemoteStore<S3File> {
  /** What the store publishes of an object. Errors: those of `s3Fault`. */
  readonly published: (file: S3File) => Promise<Published>
  readonly content: (file: S3File) => Content
}

export function s3Store({ settings, subject, revision, files, single, pinned, signal }: S3Objects): S3Store {
  const { bucket, reference } = subject
  const place = { cache: settings.cache, bucket, endpoint: settings.endpoint }
  const folder = snapshotFolder(place, revision)
  const asked = new Map<S3File, Promise<Published>>()

  async function ask({ key, etag, name }: S3File, stop = signal): Promise<Published> {
    try {
      const answer = await patiently(() => s3Request(settings, { bucket, key, etag, method: 'HEAD', signal: stop }), {
        signal: stop,
      })
      answer.close()
      return publishedIn(answer.headers, etag, bucket)
    } catch (error) {
      throw s3Fault(error, settings, { ...subject, entry: name })
    }
  }

  function published(file: S3File, stop?: AbortSignal): Promise<Published> {
    const found = asked.get(file) ?? ask(file, stop)
    asked.set(file, found)
    return found
  }

  const content = (file: S3File): Content => ({
    reference,
    path: file.name,
    size: file.size,
    cache: cacheOf(settings),
    target: blobFile(place, file),
    lock: lockFolder(place, file),
    place: path.join(folder, ...file.name.split('/')),
    get: ({ range, signal }) =>
      s3Request(settings, { bucket, key: file.key, etag: file.etag, signal, ...(range ? { range } : {}) }),
    async checks(stop) {
      const known = pinned.get(file.name)
      return known === undefined ? ((await published(file, stop)).check ?? lengthOnly) : sha256Check(known)
    },
    explain: (error, exit, shown = reference) =>
      s3Fault(error, settings, { ...subject, reference: shown, entry: file.name, exit }),
    wrong: (exit) =>
      fault(
        's3-digest',
        `${reference}: ${file.name} was downloaded twice, both times with a different digest than ${pinned.has(file.name) ? 'expected' : 'the store publishes'}`,
        pinned.has(file.name)
          ? 'check what changed, and update the lock or the sha256 of the recipe; the file was not kept'
          : 'something between the store and this machine changes the data, or the object is damaged; the file was not kept',
        exit,
      ),
    changed: (exit) =>
      fault(
        's3-changed',
        `${reference}: ${file.name} does not start with the header that the plan was made from`,
        'run again; if that does not help, something between the store and this machine changes the data',
        exit,
      ),
  })

  const store = remoteStore({
    reference,
    single,
    folder,
    cache: cacheOf(settings),
    // Everything is listed already, because the revision depends on it.
    list: async (within) => {
      const start = within === '' ? '' : `${within}/`
      const inside = files.filter(({ name }) => name.startsWith(start) && !name.slice(start.length).includes('/'))
      return new Map(inside.map((file) => [file.name.slice(start.length), file]))
    },
    content,
    signal,
  })
  return { ...store, published, content }
}
