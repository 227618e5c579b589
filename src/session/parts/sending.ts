/** The files that a part makes and that leave its machine: to the address of their output, or to the place where parts meet. */
import { eachOf } from '../../core/collections/eachOf.js'
import type { Listener } from '../../execute/events.js'
import type { Delivery } from '../../execute/types.js'
import { addressText } from '../../language/addresses.js'
import type { PlanPart } from '../../plan/parts.js'
import type { Plan } from '../../plan/types.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import { sha256Of } from '../../storage/remote/bodies.js'
import { type Destination, isWhole, type Receipt, withoutDigests } from '../../storage/remote/upload.js'
import { uploadProgress } from '../destinations/deliveries.js'
import { weightNames } from '../destinations/open.js'
import { addressOf } from '../destinations/places.js'
import type { Leaving } from './place.js'
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
  readonly part: PlanPart
  readonly leaving: Leaving
  /** By output: those at addresses. */
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
  /** Removes what has been uploaded: the parts were finished without it. Never throws. */
  readonly abandon: () => Promise<void>
}

/** What a part sends of a file, by the name that it has there. */
function sentOf(
  { outputs }: Plan,
  { index, span }: PlanPart,
  { uploaded }: Leaving,
  { output, file }: Pick<SentFile, 'output' | 'file'>,
): { readonly name: string; readonly size: number; readonly offset?: number } {
  const own = outputs[output]!
  if (uploaded.has(output)) return { name: weightNames(own, addressOf(own)!)[file]!, size: own.files[file]!.size }
  const { offset, bytes: size } = span(output, file)
  return { name: `${output}/${file}-${index}`, size, offset }
}

/** Whether a receipt is one that a part leaves of a file that it makes. */
export function isFor(plan: Plan, part: PlanPart, leaving: Leaving, one: SentFile): boolean {
  const { output, file, receipt } = one
  if (!leaving.all.has(output) || part.written.get(output)?.includes(file) !== true) return false
  const { name, size } = sentOf(plan, part, leaving, one)
  if (receipt.name !== name || receipt.size !== size) return false
  const inStore = leaving.uploaded.has(output) && addressOf(plan.outputs[output]!)!.kind === 's3'
  return inStore ? receipt.upload !== undefined : receipt.upload === undefined && receipt.sha256 !== undefined
}

/** Asks what of the earlier uploads is still there. */
export async function openSending(options: SendingOptions): Promise<Sending> {
  const { plan, digest, place, attempt, part, leaving, destinations, earlier, left, listen, signal } = options
  const files = new Map<string, SentFile>()
  const key = (output: number, file: number) => `${output} ${file}`
  const own = [...part.written].filter(([output]) => leaving.all.has(output))
  const placeOf = (output: number): Pick<Destination, 'upload' | 'holds'> =>
    leaving.uploaded.has(output) ? destinations.get(output)! : place.shelf!
  await eachOf(
    earlier.filter((one) => isFor(plan, part, leaving, one)),
    PARALLEL,
    async (one) => {
      const at = key(one.output, one.file)
      if (files.get(at)?.receipt.digests) return
      const there =
        one.receipt.digests && isWhole(one.receipt) && (await placeOf(one.output).holds(one.receipt, signal))
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

  const bytes = own.flatMap(([output, files]) => files.map((file) => sentOf(plan, part, leaving, { output, file })))
  const progress = uploadProgress(
    listen,
    bytes.reduce((sum, { size }) => sum + size, 0),
  )
  const done = new Set<string>()
  const deliveryOf = (output: number): Delivery => {
    const { path } = plan.outputs[output]!
    const address = addressOf(plan.outputs[output]!)
    const sizeOf = (file: number): number => sentOf(plan, part, leaving, { output, file }).size
    return {
      ...{ address: address ? addressText(address) : path, early: true },
      isDone: (file) => done.has(key(output, file)),
      delivered: (file) => files.get(key(output, file))?.receipt.digests,
      take(file) {
        done.add(key(output, file))
        progress.add(sizeOf(file))
      },
      async deliver(file, from, digests) {
        const one = { ...sentOf(plan, part, leaving, { output, file }), path: from }
        const receipt = await placeOf(output).upload(one, {
          ...{ signal, progress: progress.add, earlier: files.get(key(output, file))?.receipt },
          note: (receipt) => note(output, file, receipt),
        })
        // The lineage can need it, and then the file is no longer here.
        const sha256 = receipt.sha256 ?? (await sha256Of(from, one.size, signal, one.offset))
        await note(output, file, { ...receipt, sha256, digests })
        done.add(key(output, file))
        await left()
      },
      publish: () => Promise.reject(new Error('internal: a part publishes nothing')),
    }
  }
  return {
    deliveries: new Map(own.map(([output]) => [output, deliveryOf(output)])),
    sent: () => [...files].flatMap(([at, one]) => (done.has(at) ? one : [])),
    save: () => (files.size > 0 ? save() : Promise.resolve()),
    async abandon() {
      await saving.catch(() => {})
      for (const { output, receipt } of files.values())
        if (leaving.uploaded.has(output)) await destinations.get(output)!.abort([receipt])
      await place.remove(`${attempt}.sent`).catch(() => {})
    },
  }
}
