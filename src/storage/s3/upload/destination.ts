/**
 * An output in an S3 store. Files with tensors are uploaded in parts, and no upload is completed before the end, so nothing is
 * visible. Then the files appear in an order in which a reader who waits for the marker sees only whole models: files with tensors,
 * small files, lineage, marker.
 */
import { createHash } from 'node:crypto'
import { eachOf } from '../../../core/collections/eachOf.js'
import { md5Of, type Slice, withFile } from '../../remote/bodies.js'
import { patiently, RequestError } from '../../remote/request.js'
import {
  type Destination,
  existsAlready,
  isWhole,
  type Receipt,
  type ReceivedPart,
  type SmallFile,
  type UploadFile,
  type UploadOptions,
  type UploadPlan,
  uploadLost,
} from '../../remote/upload.js'
import { type S3Subject, s3Fault } from '../faults.js'
import { findObject, listObjects, type S3File } from '../list.js'
import { bare } from '../request.js'
import type { S3Settings } from '../settings.js'
import {
  abortUpload,
  completeUpload,
  createUpload,
  deleteObject,
  etagOfParts,
  listParts,
  listUploads,
  MOST_REFUSALS,
  partSizeOf,
  putObject,
  type S3Target,
  sendPart,
} from './multipart.js'

export interface S3Output {
  readonly settings: S3Settings
  readonly reference: string
  readonly bucket: string
  /** Before the names of files: empty, or with a slash at the end. */
  readonly prefix: string
  readonly plan: UploadPlan
  /** The name of the object that is written last and says that the output is whole; absent for a single file. */
  readonly marker?: string
  /** For tests. */
  readonly partSize?: number
}

/** Parts that are sent at the same time. */
const PARALLEL = 4
/** Uploads of other runs that are older count as left over, in milliseconds. */
const FORGOTTEN = 24 * 3600 * 1000

export function s3Destination({ settings, reference, bucket, prefix, plan, marker, partSize }: S3Output): Destination {
  const subject: S3Subject = { reference, bucket, writes: true }
  const targetOf = (name: string, signal?: AbortSignal): S3Target => ({
    settings,
    bucket,
    key: `${prefix}${name}`,
    signal,
  })
  const explained = async <T>(entry: string | undefined, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw s3Fault(error, settings, { ...subject, exit: 1, ...(entry === undefined ? {} : { entry }) })
    }
  }
  const own = new Set([...plan.files, ...plan.small, ...(marker === undefined ? [] : [marker])])

  /** The objects of this output or of a model in its folder. */
  async function there(signal: AbortSignal | undefined, exit: 1 | 2): Promise<S3File[]> {
    const about = { ...subject, exit }
    if (marker === undefined) {
      const found = [...own].map((name) => findObject(settings, about, `${prefix}${name}`, signal))
      return (await Promise.all(found)).flatMap((file) => file ?? [])
    }
    const files = await listObjects(settings, about, prefix, { deep: true, signal })
    return files.filter(({ name }) => own.has(name) || plan.belongs(name))
  }

  async function begin({ publishing }: Parameters<Destination['begin']>[0], signal?: AbortSignal): Promise<void> {
    const found = await there(signal, 2)
    // A run that was killed while it published may have made its own files visible.
    const others = publishing ? found.filter(({ name }) => !own.has(name)) : found
    const names = others.map(({ name }) => name)
    if (names.length > 0 && !plan.force) throw existsAlready(reference, names, 2)
    await dropForgotten(signal)
  }

  /** Removes uploads of this output that a run left long ago on another machine, or that was killed with its work folder. */
  async function dropForgotten(signal: AbortSignal | undefined): Promise<void> {
    const keys = new Set(plan.files.map((name) => `${prefix}${name}`))
    try {
      const open = await listUploads(targetOf(marker === undefined ? plan.files[0]! : '', signal))
      for (const { key, id, started } of open)
        if (keys.has(key) && started < Date.now() - FORGOTTEN) await abortUpload({ settings, bucket, key, signal }, id)
    } catch (error) {
      // Not every store or key can list them.
      if (!(error instanceof RequestError)) throw error
    }
  }

  async function upload(file: UploadFile, options: UploadOptions = {}): Promise<Receipt> {
    const { signal } = options
    const target = targetOf(file.name, signal)
    return explained(file.name, () =>
      withFile(file.path, (handle) => sendFile(target, file, handle, options, partSize)),
    )
  }

  async function holds(receipt: Receipt, signal?: AbortSignal): Promise<boolean> {
    const { upload, name } = receipt
    if (!upload || !isWhole(receipt)) return false
    return explained(name, async () => {
      const target = targetOf(name, signal)
      const parts = await listParts(target, upload.id)
      // A run that was killed while it published may have completed it.
      if (!parts) return isThere(target, receipt)
      return upload.parts.every((part, index) => parts.get(index + 1) === bare(part!.etag))
    })
  }

  async function isThere(target: S3Target, { size, upload }: Receipt): Promise<boolean> {
    const found = await findObject(settings, subject, target.key, target.signal)
    return found?.size === size && bare(found.etag).toLowerCase() === etagOfParts(upload!.parts as ReceivedPart[])
  }

  async function complete(receipt: Receipt, signal: AbortSignal | undefined): Promise<void> {
    const target = targetOf(receipt.name, signal)
    const { id, parts } = receipt.upload!
    try {
      await completeUpload(target, id, parts as ReceivedPart[])
    } catch (error) {
      const lost = error instanceof RequestError && (error.code === 'NoSuchUpload' || error.status === 404)
      if (!lost) throw error
      // The answer of an earlier attempt may have been lost.
      if (await isThere(target, receipt)) return
      throw uploadLost(reference, receipt.name)
    }
  }

  async function publish(
    receipts: readonly Receipt[],
    small: readonly SmallFile[],
    signal?: AbortSignal,
  ): Promise<Record<string, never>> {
    await explained(undefined, async () => {
      const before = await there(signal, 1)
      const stale = before.filter(({ name }) => !own.has(name))
      // Until the marker is there again, the folder does not count as a whole model. A lineage is never beside another model.
      for (const { name } of before)
        if (name === marker || name === plan.lineage) await deleteObject(targetOf(name, signal))
      await eachOf(receipts, PARALLEL, (receipt) => complete(receipt, signal))
      for (const { name, content } of small) await putObject(targetOf(name, signal), content)
      for (const { name } of stale) await deleteObject(targetOf(name, signal))
      if (marker !== undefined) await putObject(targetOf(marker, signal), markerText(receipts, small))
    })
    return {}
  }

  async function abort(receipts: readonly Receipt[]): Promise<void> {
    for (const { name, upload } of receipts) if (upload) await abortUpload(targetOf(name), upload.id).catch(() => {})
  }

  return { reference, begin, upload, holds, publish, abort }
}

/** The content of the marker: the files of the output, with the ETags that they have. */
function markerText(receipts: readonly Receipt[], small: readonly SmallFile[]): Uint8Array {
  const files = [
    ...receipts.map(({ name, size, upload }) => ({ name, size, etag: etagOfParts(upload!.parts as ReceivedPart[]) })),
    ...small.map(({ name, content }) => ({
      name,
      size: content.length,
      etag: createHash('md5').update(content).digest('hex'),
    })),
  ]
  return new TextEncoder().encode(`${JSON.stringify({ terge: 1, files }, undefined, 2)}\n`)
}

/** Sends the parts of a file, several at a time. Parts that an earlier run sent are used again if their bytes are the same. */
async function sendFile(
  target: S3Target,
  { name, size }: UploadFile,
  handle: Slice['handle'],
  { signal, earlier, note, progress }: UploadOptions,
  wanted: number | undefined,
): Promise<Receipt> {
  const partSize = partSizeOf(size, wanted)
  const count = Math.max(1, Math.ceil(size / partSize))
  const kept = await keptParts(target, earlier, { size, partSize })
  const id = kept?.id ?? (await createUpload(target))
  const parts: (ReceivedPart | null)[] = Array.from({ length: count }, () => null)
  const receipt = (): Receipt => ({ name, size, upload: { id, partSize, parts: [...parts] } })
  await note?.(receipt())
  // Saved one after another: each has what the ones before it have.
  let noting = Promise.resolve()
  const failed = new AbortController()
  const abort = (): void => failed.abort(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })
  if (signal?.aborted) abort()
  const stop = failed.signal
  const send = async (index: number): Promise<void> => {
    const start = index * partSize
    const length = Math.min(partSize, size - start)
    const md5 = await md5Of({ handle, start, length }, stop)
    const known = kept?.parts[index]
    if (known?.md5 === md5.toString('hex')) {
      parts[index] = known
      progress?.(length)
      return
    }
    parts[index] = await patiently(
      async () => {
        let sent = 0
        const count = (bytes: number): void => {
          sent += bytes
          progress?.(bytes)
        }
        try {
          return await sendPart({ ...target, signal: stop }, id, index + 1, { handle, start, length, sent: count }, md5)
        } catch (error) {
          progress?.(-sent)
          throw error
        }
      },
      { most: MOST_REFUSALS, signal: stop },
    )
    noting = noting.then(() => note?.(receipt()))
    await noting
  }
  let first: { error: unknown } | undefined
  await eachOf([...parts.keys()], PARALLEL, async (index) => {
    if (first) return
    try {
      await send(index)
    } catch (error) {
      first ??= { error }
      failed.abort()
    }
  })
  signal?.removeEventListener('abort', abort)
  if (first) throw signal?.aborted ? signal.reason : first.error
  return receipt()
}

/** The upload of an earlier run, with those of its parts that the store still has. */
async function keptParts(
  target: S3Target,
  earlier: Receipt | undefined,
  { size, partSize }: { readonly size: number; readonly partSize: number },
): Promise<{ readonly id: string; readonly parts: readonly (ReceivedPart | null)[] } | undefined> {
  const { upload } = earlier ?? {}
  if (!upload) return undefined
  const there = await listParts(target, upload.id)
  if (!there) return undefined
  if (earlier!.size !== size || upload.partSize !== partSize) {
    await abortUpload(target, upload.id)
    return undefined
  }
  const parts = upload.parts.map((part, index) => (part && there.get(index + 1) === bare(part.etag) ? part : null))
  return { id: upload.id, parts }
}
