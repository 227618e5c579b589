/**
 * An output in an S3 store. Files with tensors are uploaded in parts, and no upload is completed before the end, so nothing is
 * visible. Then the files appear in an order in which a reader who waits for the marker sees only whole models: files with tensors,
 * small files, lineage, marker.
 */
import { withFile } from '../../remote/bodies.js'
import { RequestError } from '../../remote/request.js'
import { type Destination, type Earlier, existsAlready, isWhole, type Receipt } from '../../remote/upload.js'
import { bare } from '../request.js'
import { abortUpload, deleteObject, listParts, listUploads } from './multipart.js'
import {
  explained,
  hasObjects,
  isThere,
  objectsThere,
  ownNames,
  publishObjects,
  type S3Output,
  targetOf,
} from './output.js'
import { sendFile } from './sendFile.js'

/** Uploads of other runs that are older count as left over, in milliseconds. */
const FORGOTTEN = 24 * 3600 * 1000

export const s3Destination = (output: S3Output): Destination => ({
  reference: output.reference,
  begin: (earlier, signal) => begin(output, earlier, signal),
  upload: (file, options = {}) => {
    const target = targetOf(output, file.name, options.signal)
    const send = () => withFile(file.path, (handle) => sendFile(target, file, handle, options, output.partSize))
    return explained(output, file.name, send)
  },
  holds: (receipt, signal) => holds(output, receipt, signal),
  has: (receipts, small, signal) => hasObjects(output, receipts, small, signal),
  async publish(receipts, small, signal) {
    await explained(output, undefined, () => publishObjects(output, receipts, small, signal))
    return {}
  },
  remove: (signal) =>
    explained(output, undefined, async () => {
      const small = new Set(output.plan.small)
      for (const { name } of await objectsThere(output, 1, signal))
        if (small.has(name)) await deleteObject(targetOf(output, name, signal))
    }),
  async abort(receipts) {
    for (const { name, upload } of receipts)
      if (upload) await abortUpload(targetOf(output, name), upload.id).catch(() => {})
  },
})

async function begin(output: S3Output, earlier: Earlier, signal: AbortSignal | undefined): Promise<void> {
  const own = ownNames(output)
  const found = await objectsThere(output, 2, signal)
  // A run that was killed while it published may have made its own files visible.
  const others = earlier.publishing ? found.filter(({ name }) => !own.has(name)) : found
  const names = others.map(({ name }) => name)
  if (names.length > 0 && !output.plan.force) throw existsAlready(output.reference, names, 2)
  if (!earlier.inParts)
    await dropForgotten(output, new Set(earlier.receipts.flatMap(({ upload }) => upload?.id ?? [])), signal)
}

/** Removes uploads of this output that a run left long ago on another machine, or that was killed with its work folder. */
async function dropForgotten(
  output: S3Output,
  used: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { plan, marker } = output
  if (plan.files.length === 0) return
  const keys = new Set(plan.files.map((name) => targetOf(output, name).key))
  try {
    const open = await listUploads(targetOf(output, marker === undefined ? plan.files[0]! : '', signal))
    for (const { key, id, started } of open)
      if (keys.has(key) && !used.has(id) && started < Date.now() - FORGOTTEN)
        await abortUpload({ ...targetOf(output, '', signal), key }, id)
  } catch (error) {
    // Not every store or key can list them.
    if (!(error instanceof RequestError)) throw error
  }
}

async function holds(output: S3Output, receipt: Receipt, signal: AbortSignal | undefined): Promise<boolean> {
  const { upload, name } = receipt
  if (!upload || !isWhole(receipt)) return false
  return explained(output, name, async () => {
    const parts = await listParts(targetOf(output, name, signal), upload.id)
    // A run that was killed while it published may have completed it.
    if (!parts) return isThere(output, receipt, signal)
    return upload.parts.every((part, index) => {
      const found = parts.get(index + 1)
      const size = Math.min(upload.partSize, receipt.size - index * upload.partSize)
      return found?.etag === bare(part!.etag) && found.size === size
    })
  })
}
