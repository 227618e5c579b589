/** Sends one file in parts. */
import { eachStopping } from '../../../core/collections/eachOf.js'
import { md5Of, type Slice } from '../../remote/bodies.js'
import { patiently } from '../../remote/request.js'
import type { Receipt, ReceivedPart, UploadFile, UploadOptions } from '../../remote/upload.js'
import { bare } from '../request.js'
import {
  abortUpload,
  createUpload,
  listParts,
  MOST_REFUSALS,
  partSizeOf,
  type S3Target,
  sendPart,
} from './multipart.js'

/** Parts that are sent at the same time. */
const PARALLEL = 4

/** Sends the parts of a file, several at a time. Parts that an earlier run sent are used again if their bytes are the same. */
export async function sendFile(
  target: S3Target,
  { name, size, offset = 0 }: UploadFile,
  handle: Slice['handle'],
  { signal, earlier, note, progress }: UploadOptions,
  wanted: number | undefined,
): Promise<Receipt> {
  const partSize = partSizeOf(size, wanted)
  const count = Math.max(1, Math.ceil(size / partSize))
  const kept = await keptUpload(target, earlier, { size, partSize })
  const id = kept?.id ?? (await createUpload(target))
  const parts: (ReceivedPart | null)[] = Array.from({ length: count }, () => null)
  const receipt = (): Receipt => ({ name, size, upload: { id, partSize, parts: [...parts] } })
  await note?.(receipt())
  // Saved one after another: each has what the ones before it have.
  let noting = Promise.resolve()
  const send = async (index: number, stop: AbortSignal): Promise<void> => {
    const start = offset + index * partSize
    const length = Math.min(partSize, size - index * partSize)
    const md5 = await md5Of({ handle, start, length }, stop)
    parts[index] = kept?.partOf(index, md5.toString('hex')) ?? null
    if (parts[index]) return progress?.(length)
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
  await eachStopping([...parts.keys()], PARALLEL, send, signal)
  return receipt()
}

interface KeptUpload {
  readonly id: string
  /** A part that the store still has, with these bytes. */
  partOf(index: number, md5: string): ReceivedPart | undefined
}

/** The upload of an earlier run. A part counts by its own ETag if that is the MD5, even if the run was killed before it noted it. */
async function keptUpload(
  target: S3Target,
  earlier: Receipt | undefined,
  { size, partSize }: { readonly size: number; readonly partSize: number },
): Promise<KeptUpload | undefined> {
  const { upload } = earlier ?? {}
  if (!upload) return undefined
  const there = await listParts(target, upload.id)
  if (!there) return undefined
  if (earlier!.size !== size || upload.partSize !== partSize) {
    await abortUpload(target, upload.id)
    return undefined
  }
  return {
    id: upload.id,
    partOf(index, md5) {
      const { etag, size: stored } = there.get(index + 1) ?? {}
      if (etag === undefined || stored !== Math.min(partSize, size - index * partSize)) return undefined
      const noted = upload.parts[index]
      const same = etag.toLowerCase() === md5 || (noted?.md5 === md5 && bare(noted.etag) === etag)
      return same ? { etag: `"${etag}"`, md5 } : undefined
    },
  }
}
