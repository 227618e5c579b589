/**
 * Uploads to the hub's storage of large files, by the batch API of Git LFS with the hub's own transfer in parts. Objects are
 * named by their SHA-256, and belong to no file before a commit names them.
 */
import { eachOf } from '../../../core/collections/eachOf.js'
import type { Body, Slice } from '../../remote/bodies.js'
import { patiently, RequestError } from '../../remote/request.js'
import type { HubSettings } from '../settings.js'
import { lfsPost, MOST_REFUSALS, put } from './requests.js'

/** A content for the storage. */
export interface LfsObject {
  /** 64 hexadecimal digits. */
  readonly sha256: string
  readonly size: number
}

/** Its bytes: in memory, or in an open file. */
export type LfsBytes = Uint8Array | Slice['handle']

export interface LfsPlace {
  readonly settings: HubSettings
  readonly repository: string
  readonly branch: string
  readonly signal?: AbortSignal | undefined
}

/** How an object is uploaded; undefined if the storage has it. */
interface Actions {
  readonly upload?: Action
  readonly verify?: Action
}
interface Action {
  readonly href: string
  readonly header: Readonly<Record<string, string>>
}

/** Parts that are sent at the same time. */
const PARALLEL = 4
/** Maximum attempts with new addresses that bring nothing. */
const MOST_BATCHES = 6
/** Objects of one question. */
const BATCH = 100
const MOST_PARTS = 100_000

/** Asks how objects are uploaded, by their SHA-256. Objects that the storage has need no upload. */
export async function askBatch(place: LfsPlace, objects: readonly LfsObject[]): Promise<ReadonlyMap<string, Actions>> {
  const { settings, repository, branch, signal } = place
  const found = new Map<string, Actions>()
  for (let at = 0; at < objects.length; at += BATCH) {
    const asked = objects.slice(at, at + BATCH)
    const body = JSON.stringify({
      operation: 'upload',
      transfers: ['basic', 'multipart'],
      hash_algo: 'sha256',
      ref: { name: branch },
      objects: asked.map(({ sha256: oid, size }) => ({ oid, size })),
    })
    const url = `/${repository}.git/info/lfs/objects/batch`
    const answer = (await lfsPost(settings, { url, body, signal })) as { objects?: unknown } | undefined
    const listed: readonly unknown[] = Array.isArray(answer?.objects) ? answer.objects : []
    for (const { sha256 } of asked) {
      const own = listed.find((one) => (one as { oid?: unknown } | null)?.oid === sha256)
      if (own === undefined) throw new RequestError('the answer does not have every object')
      found.set(sha256, actionsOf(own as ListedObject))
    }
  }
  return found
}

interface ListedObject {
  readonly error?: { readonly code?: unknown }
  readonly actions?: { readonly upload?: unknown; readonly verify?: unknown }
}

function actionsOf({ error, actions }: ListedObject): Actions {
  if (error) {
    const status = typeof error.code === 'number' ? error.code : undefined
    throw new RequestError(`the storage refuses an object${status === undefined ? '' : `: status ${status}`}`, status)
  }
  const [upload, verify] = [actionOf(actions?.upload), actionOf(actions?.verify)]
  return { ...(upload ? { upload } : {}), ...(verify ? { verify } : {}) }
}

function actionOf(given: unknown): Action | undefined {
  if (given === undefined || given === null) return undefined
  const { href, header } = given as { href?: unknown; header?: unknown }
  if (typeof href !== 'string') throw new RequestError('the answer has no address for an upload')
  const entries = Object.entries(typeof header === 'object' && header !== null ? header : {})
  return { href, header: Object.fromEntries(entries.map(([name, value]) => [name, String(value)])) }
}

/** Whether the storage has an object. */
export const isHeld = async (place: LfsPlace, object: LfsObject): Promise<boolean> =>
  (await askBatch(place, [object])).get(object.sha256)!.upload === undefined

/** Uploads an object unless the storage has it. Asks for new addresses when they have expired. */
export async function sendObject(
  place: LfsPlace,
  object: LfsObject,
  bytes: LfsBytes,
  progress: (bytes: number) => void = () => {},
): Promise<void> {
  const { settings, signal } = place
  await patiently(
    async (brought) => {
      const { upload, verify } = (await askBatch(place, [object])).get(object.sha256)!
      if (!upload) return
      try {
        if (upload.header.chunk_size === undefined) await sendWhole(place, object, bytes, upload, progress)
        else await sendParts(place, object, bytes, upload, progress, brought)
        if (!verify) return
        const body = JSON.stringify({ oid: object.sha256, size: object.size })
        await lfsPost(settings, { url: verify.href, body, signal })
      } catch (error) {
        // The addresses have expired, or the storage has lost the upload: begin again with new ones.
        const again = error instanceof RequestError && [400, 403, 404, 410].includes(error.status ?? 0)
        throw again ? new RequestError(error.message, error.status, error.code, true) : error
      }
    },
    { most: MOST_BATCHES, signal },
  )
}

function bodyIn(bytes: LfsBytes, start: number, length: number, sent: (bytes: number) => void): Body {
  if (!(bytes instanceof Uint8Array)) return { handle: bytes, start, length, sent }
  return bytes.subarray(start, start + length)
}

/** Sends with repetitions. What was sent in vain does not count as progress. */
const sendTo = (
  { settings, signal }: LfsPlace,
  href: string,
  body: (sent: (bytes: number) => void) => Body,
  progress: (bytes: number) => void,
) =>
  patiently(
    async () => {
      let sent = 0
      const count = (bytes: number): void => {
        sent += bytes
        progress(bytes)
      }
      try {
        return await put(settings, href, body(count), signal)
      } catch (error) {
        progress(-sent)
        throw error
      }
    },
    { most: MOST_REFUSALS, signal },
  )

const sendWhole = async (
  place: LfsPlace,
  { size }: LfsObject,
  bytes: LfsBytes,
  { href }: Action,
  progress: (bytes: number) => void,
): Promise<void> => void (await sendTo(place, href, (sent) => bodyIn(bytes, 0, size, sent), progress))

/** The header of the action has the size of parts, and an address for each. */
async function sendParts(
  place: LfsPlace,
  { sha256: oid, size }: LfsObject,
  bytes: LfsBytes,
  { href, header }: Action,
  progress: (bytes: number) => void,
  brought: (bytes: number) => void,
): Promise<void> {
  const partSize = Number(header.chunk_size)
  const numbers = Object.keys(header).filter((name) => /^\d+$/.test(name))
  const addresses = numbers.sort((a, b) => Number(a) - Number(b)).map((name) => header[name]!)
  const count = Math.ceil(size / partSize)
  if (!Number.isSafeInteger(partSize) || partSize < 1 || count > MOST_PARTS || addresses.length !== count)
    throw new RequestError('the answer has another number of parts than the file')
  const parts: { partNumber: number; etag: string }[] = []
  await eachOf([...addresses.entries()], PARALLEL, async ([index, address]) => {
    const start = index * partSize
    const length = Math.min(partSize, size - start)
    const headers = await sendTo(place, address, (sent) => bodyIn(bytes, start, length, sent), progress)
    const etag = headers.get('etag')
    if (etag === null || etag === '') throw new RequestError('the storage gave no ETag for a part')
    parts[index] = { partNumber: index + 1, etag }
    brought(length)
  })
  await lfsPost(place.settings, { url: href, body: JSON.stringify({ oid, parts }), signal: place.signal })
}
