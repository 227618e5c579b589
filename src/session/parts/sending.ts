/** The files that a part makes and that leave its machine: to the address of their output, or to the place where parts meet. */
import { eachOf } from '../../core/collections/eachOf.js'
import type { Listener } from '../../execute/events.js'
import type { Delivery } from '../../execute/types.js'
import { addressText } from '../../language/addresses.js'
import type { Plan } from '../../plan/types.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import { sha256Of } from '../../storage/remote/bodies.js'
import { type Destination, isWhole, type Receipt, withoutDigests } from '../../storage/remote/upload.js'
import { uploadProgress } from '../destinations/deliveries.js'
import { weightNames } from '../destinations/open.js'
import { addressOf } from '../destinations/places.js'
import { uploadedByParts } from './place.js'
import { type SentFile, sentText } from './records.js'

/** Milliseconds between records of pieces. A whole file is recorded at once. */
const PAUSE = 10_000
/** Questions at the same time. */
const PARALLEL = 4

export interface SendingOptions {
  readonly plan: Plan
  /** The digest of the plan that the recipe gives. */
  readonly digest: string
  readonly place: MeetingPlace
  /** The name of this attempt. */
  readonly attempt: string
  /** The files that the part makes, by output. */
  readonly own: ReadonlyMap<number, readonly number[]>
  /** By output: those that parts upload to their addresses. */
  readonly destinations: ReadonlyMap<number, Destination>
  /** What earlier attempts have uploaded. */
  readonly earlier: readonly SentFile[]
  /** Called when a file has left. */
  readonly left: () => Promise<void>
  readonly listen: Listener
  readonly signal?: AbortSignal | undefined
}

export interface Sending {
  readonly deliveries: ReadonlyMap<number, Delivery>
  /** The files that have left, whole. */
  readonly sent: () => SentFile[]
  /** Records what has been uploaded, for another attempt. */
  readonly save: () => Promise<void>
}

/** The name of a file in its receipt: at its address, or among the files that parts leave. */
function sentName({ outputs }: Plan, output: number, file: number, uploaded: boolean): string {
  const own = outputs[output]!
  return uploaded ? weightNames(own, addressOf(own)!)[file]! : `${output}/${file}`
}

/** Whether a receipt is one that a part leaves of this file. */
export function isFor(plan: Plan, { output, file, receipt }: SentFile, uploaded: ReadonlySet<number>): boolean {
  const own = plan.outputs[output]
  if (!own?.files[file] || receipt.size !== own.files[file].size) return false
  if (receipt.name !== sentName(plan, output, file, uploaded.has(output))) return false
  const inPieces = uploaded.has(output) && addressOf(own)!.kind === 's3'
  return inPieces ? receipt.upload !== undefined : receipt.upload === undefined && receipt.sha256 !== undefined
}

/** Asks what of the earlier uploads is still there. */
export async function openSending(options: SendingOptions): Promise<Sending> {
  const { plan, digest, place, attempt, own, destinations, earlier, left, listen, signal } = options
  const uploaded = uploadedByParts(plan)
  const files = new Map<string, SentFile>()
  const key = (output: number, file: number) => `${output} ${file}`
  const isOwn = ({ output, file }: SentFile) => own.get(output)?.includes(file) === true
  const holds = ({ output, receipt }: SentFile): Promise<boolean> =>
    destinations.get(output)?.holds(receipt, signal) ?? place.shelf!.holds(receipt)
  await eachOf(
    earlier.filter((one) => isOwn(one) && isFor(plan, one, uploaded)),
    PARALLEL,
    async (one) => {
      const at = key(one.output, one.file)
      if (files.get(at)?.receipt.digests) return
      const there = one.receipt.digests && isWhole(one.receipt) && (await holds(one))
      if (there || !files.has(at)) files.set(at, there ? one : { ...one, receipt: withoutDigests(one.receipt) })
    },
  )

  let saved = 0
  // One after another, so that an older state does not replace a newer one.
  let saving = Promise.resolve()
  const save = (): Promise<void> => {
    saved = performance.now()
    saving = saving.then(() => place.write(`${attempt}.sent`, sentText(digest, [...files.values()])))
    return saving
  }
  async function note(output: number, file: number, receipt: Receipt): Promise<void> {
    const before = files.get(key(output, file))?.receipt
    files.set(key(output, file), { output, file, receipt })
    const isNew = before?.upload?.id !== receipt.upload?.id
    if (isNew || receipt.digests || performance.now() - saved > PAUSE) await save()
  }

  const bytes = [...own].flatMap(([output, numbers]) => numbers.map((file) => plan.outputs[output]!.files[file]!))
  const progress = uploadProgress(
    listen,
    bytes.reduce((sum, { size }) => sum + size, 0),
  )
  const done = new Set<string>()
  const deliveryOf = (output: number): Delivery => {
    const { files: planned, path } = plan.outputs[output]!
    const address = addressOf(plan.outputs[output]!)
    const send = (destinations.get(output) ?? place.shelf!).upload
    return {
      ...{ address: address ? addressText(address) : path, early: true },
      isDone: (file) => done.has(key(output, file)),
      delivered: (file) => files.get(key(output, file))?.receipt.digests,
      take(file) {
        done.add(key(output, file))
        progress.add(planned[file]!.size)
      },
      async deliver(file, from, digests) {
        const one = { name: sentName(plan, output, file, uploaded.has(output)), size: planned[file]!.size, path: from }
        const receipt = await send(one, {
          ...{ signal, progress: progress.add, earlier: files.get(key(output, file))?.receipt },
          note: (receipt) => note(output, file, receipt),
        })
        // The lineage can need it, and then the file is no longer here.
        const sha256 = receipt.sha256 ?? (await sha256Of(from, one.size, signal))
        await note(output, file, { ...receipt, sha256, digests })
        done.add(key(output, file))
        await left()
      },
      publish: () => Promise.reject(new Error('internal: a part publishes nothing')),
    }
  }
  return {
    deliveries: new Map([...own.keys()].map((output) => [output, deliveryOf(output)])),
    sent: () => [...files].flatMap(([at, one]) => (done.has(at) ? one : [])),
    save: () => (files.size > 0 ? save() : Promise.resolve()),
  }
}
