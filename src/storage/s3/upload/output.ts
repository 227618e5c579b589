/** The objects of an output: what is there, and how uploads become objects. */
import { createHash } from 'node:crypto'
import path from 'node:path'
import { eachOf, mapEach } from '../../../core/collections/eachOf.js'
import type { ExitCode } from '../../../core/diagnostics.js'
import { RequestError } from '../../remote/request.js'
import {
  type Receipt,
  type ReceivedPart,
  type SmallFile,
  type SmallMark,
  type UploadPlan,
  uploadLost,
} from '../../remote/upload.js'
import { type S3Subject, s3Fault } from '../faults.js'
import { findObject, listObjects, type S3File } from '../list.js'
import { bare } from '../request.js'
import type { S3Settings } from '../settings.js'
import { completeUpload, deleteObject, etagOfParts, putObject, type S3Target } from './multipart.js'

export interface S3Output {
  readonly settings: S3Settings
  readonly reference: string
  readonly bucket: string
  /** Before the names of files: empty, or with a slash at the end. */
  readonly prefix: string
  readonly plan: UploadPlan
  /** The name of the object that is written last and says that the output is whole. */
  readonly marker?: string
  /** Whether other files in its folders do not matter. Default: they can belong to another model. */
  readonly amongOthers?: boolean
  /** For tests. */
  readonly partSize?: number
}

/** Requests at the same time. */
const PARALLEL = 4

const subjectOf = ({ reference, bucket }: S3Output): S3Subject => ({ reference, bucket, writes: true })

export const targetOf = ({ settings, bucket, prefix }: S3Output, name: string, signal?: AbortSignal): S3Target => ({
  ...{ settings, bucket, key: `${prefix}${name}`, signal },
})

/** Turns errors of requests into errors for the user. `entry`: an object, for messages. */
export async function explained<T>(output: S3Output, entry: string | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const about = { ...subjectOf(output), exit: 1 as const, ...(entry === undefined ? {} : { entry }) }
    throw s3Fault(error, output.settings, about)
  }
}

export const ownNames = ({ plan, marker }: S3Output): ReadonlySet<string> =>
  new Set([...plan.files, ...plan.small, ...(marker === undefined ? [] : [marker])])

/** The objects of this output, or of a model in the same folders. Other folders below the prefix are not looked at. */
export async function objectsThere(
  output: S3Output,
  exit: ExitCode,
  signal: AbortSignal | undefined,
): Promise<readonly S3File[]> {
  const { settings, prefix, plan, amongOthers = false } = output
  const about = { ...subjectOf(output), exit }
  const own = [...ownNames(output)]
  if (amongOthers) {
    const found = own.map((name) => findObject(settings, about, `${prefix}${name}`, signal))
    return (await Promise.all(found)).flatMap((file) => file ?? [])
  }
  const folders = new Set(['', ...own.map((name) => path.posix.dirname(name).replace(/^\.$/, ''))])
  const lists = await mapEach([...folders], PARALLEL, async (folder) => {
    const start = folder === '' ? '' : `${folder}/`
    const files = await listObjects(settings, about, `${prefix}${start}`, { signal })
    return files.map((file) => ({ ...file, name: `${start}${file.name}` }))
  })
  return lists.flat().filter(({ name }) => own.includes(name) || plan.belongs(name))
}

/** Whether the object of a receipt is there, complete. */
export async function isThere(output: S3Output, receipt: Receipt, signal: AbortSignal | undefined): Promise<boolean> {
  const { key } = targetOf(output, receipt.name)
  const found = await findObject(output.settings, subjectOf(output), key, signal)
  return found?.size === receipt.size && bare(found.etag).toLowerCase() === etagOf(receipt)
}

const partsOf = ({ upload }: Receipt): readonly ReceivedPart[] => upload!.parts as readonly ReceivedPart[]
const etagOf = (receipt: Receipt): string => etagOfParts(partsOf(receipt))

async function complete(output: S3Output, receipt: Receipt, signal: AbortSignal | undefined): Promise<void> {
  try {
    await completeUpload(targetOf(output, receipt.name, signal), receipt.upload!.id, partsOf(receipt))
  } catch (error) {
    const lost = error instanceof RequestError && (error.code === 'NoSuchUpload' || error.status === 404)
    if (!lost) throw error
    // The answer of an earlier attempt may have been lost.
    if (!(await isThere(output, receipt, signal))) throw uploadLost(output.reference, receipt.name)
  }
}

/** Whether exactly this output is there, with its marker and nothing else of a model. */
export async function hasObjects(
  output: S3Output,
  receipts: readonly Receipt[],
  small: readonly SmallMark[],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const found = new Map((await objectsThere(output, 2, signal)).map((file) => [file.name, file]))
  const wanted = [
    ...receipts.map((receipt) => ({ name: receipt.name, size: receipt.size, etag: etagOf(receipt) })),
    ...small.map(({ name, size, md5 }) => ({ name, size, etag: md5 })),
  ]
  const others = output.marker === undefined ? 0 : 1
  return (
    found.size === wanted.length + others &&
    (output.marker === undefined || found.has(output.marker)) &&
    wanted.every(({ name, size, etag }) => {
      const file = found.get(name)
      return file?.size === size && bare(file.etag).toLowerCase() === etag
    })
  )
}

/** Makes an output visible: files with tensors, small files in their order, marker. */
export async function publishObjects(
  output: S3Output,
  receipts: readonly Receipt[],
  small: readonly SmallFile[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const { marker, plan } = output
  const target = (name: string): S3Target => targetOf(output, name, signal)
  const before = await objectsThere(output, 1, signal)
  const own = ownNames(output)
  // Until the marker is there again, the folder does not count as a whole model. A lineage is never beside another model.
  const first = (name: string): boolean =>
    name === marker || name === plan.lineage || (plan.files.length === 0 && !own.has(name))
  for (const { name } of before) if (first(name)) await deleteObject(target(name))
  await eachOf(receipts, PARALLEL, (receipt) => complete(output, receipt, signal))
  for (const { name, content } of small) await putObject(target(name), content)
  for (const { name } of before) if (!own.has(name) && !first(name)) await deleteObject(target(name))
  if (marker !== undefined) await putObject(target(marker), markerText(receipts, small))
}

/** The content of the marker: the files of the output, with the ETags that they have. */
function markerText(receipts: readonly Receipt[], small: readonly SmallFile[]): Uint8Array {
  const files = [
    ...receipts.map((receipt) => ({ name: receipt.name, size: receipt.size, etag: etagOf(receipt) })),
    ...small.map(({ name, content }) => {
      return { name, size: content.length, etag: createHash('md5').update(content).digest('hex') }
    }),
  ]
  return new TextEncoder().encode(`${JSON.stringify({ terge: 1, files }, undefined, 2)}\n`)
}
