/** What the parts of a run have uploaded, and what they left in a place without a shared file system. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { eachOf } from '../../core/collections/eachOf.js'
import type { Fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import { move } from '../../core/system/disk.js'
import type { Listener } from '../../execute/events.js'
import type { PlanPart } from '../../plan/parts.js'
import type { Plan } from '../../plan/types.js'
import { openShared, outputFolder, removeShared } from '../../storage/local/shared/folder.js'
import { readRecord } from '../../storage/meeting/records.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import { isCached } from '../../storage/remote/place.js'
import type { Destination, Receipt } from '../../storage/remote/upload.js'
import { isWhole } from '../../storage/remote/upload.js'
import { type HubHeads, openDestination } from '../destinations/open.js'
import { addressOf } from '../destinations/places.js'
import type { ReceivedOutputs } from '../run.js'
import { leavingOutputs, uploadedByParts } from './place.js'
import type { PartRecord, SentFile } from './records.js'
import { isFor } from './sending.js'

/** The record that files can be visible from now on. */
const PUBLISHING = 'publishing'
const PARALLEL = 4

export const isPublishing = async (place: MeetingPlace): Promise<boolean> =>
  (await readRecord(place, PUBLISHING)) !== undefined

/**
 * The addresses of outputs, checked before anything is read. Returns those that parts upload to. Errors: `output-exists` without
 * force, those of requests.
 */
export async function openDestinations(
  plan: Plan,
  place: MeetingPlace,
  {
    force,
    listen,
    signal,
  }: { readonly force: boolean; readonly listen: Listener; readonly signal?: AbortSignal | undefined },
): Promise<ReadonlyMap<number, Destination>> {
  const uploaded = uploadedByParts(plan)
  const found = new Map<number, Destination>()
  const notice = (message: string): void => listen({ kind: 'notice', message })
  const heads: HubHeads = new Map()
  for (const [index, output] of plan.outputs.entries()) {
    const address = addressOf(output)
    if (!address) continue
    const destination = await openDestination(output, address, { force, notice, heads })
    await destination.begin({ receipts: [], publishing: await isPublishing(place), inParts: true }, signal)
    if (uploaded.has(index)) found.set(index, destination)
  }
  return found
}

/** Whether a record has every file that its part had to upload or to leave. */
export function isComplete(plan: Plan, part: PlanPart, { sent }: PartRecord, leaving: ReadonlySet<number>): boolean {
  const uploaded = uploadedByParts(plan)
  return [...part.written].every(
    ([output, files]) => !leaving.has(output) || files.every((file) => sentOf(sent, output, file, plan, uploaded)),
  )
}

const sentOf = (
  sent: readonly SentFile[],
  output: number,
  file: number,
  plan: Plan,
  uploaded: ReadonlySet<number>,
): SentFile | undefined =>
  sent.find(
    (one) =>
      one.output === output &&
      one.file === file &&
      one.receipt.digests !== undefined &&
      isWhole(one.receipt) &&
      isFor(plan, one, uploaded),
  )

/** The uploads of parts, for the run that publishes them. Undefined if there are none. */
export function receivedFrom(
  plan: Plan,
  sent: readonly SentFile[],
  { place, publishing }: { readonly place: MeetingPlace; readonly publishing: boolean },
  lost: (files: readonly SentFile[]) => Fault,
): ReceivedOutputs | undefined {
  const outputs = uploadedByParts(plan)
  if (outputs.size === 0) return undefined
  const of = (output: number): readonly SentFile[] => sent.filter((one) => one.output === output)
  return {
    outputs,
    of: (output) =>
      outputs.has(output)
        ? { receipts: of(output).map(({ receipt }) => receipt), publishing, inParts: true }
        : undefined,
    sumOf(output, file) {
      const { sha256 } = of(output).find((one) => one.file === file)?.receipt ?? {}
      return sha256 === undefined || !outputs.has(output) ? undefined : `sha256:${sha256}`
    },
    lost: (output, receipts) => lost(of(output).filter(({ receipt }) => receipts.includes(receipt))),
    publishing: () => place.write(`${PUBLISHING}.record`, '{}\n'),
  }
}

/** Removes uploads of attempts that no record has. */
export async function abortUnused(plan: Plan, all: readonly SentFile[], used: readonly SentFile[]): Promise<void> {
  const kept = new Set(used.flatMap(({ receipt }) => receipt.upload?.id ?? []))
  const uploaded = uploadedByParts(plan)
  const unused = new Map<number, Receipt[]>()
  for (const one of all) {
    const { output, receipt } = one
    if (!receipt.upload || kept.has(receipt.upload.id) || !isFor(plan, one, uploaded)) continue
    unused.set(output, [...(unused.get(output) ?? []), receipt])
  }
  for (const [index, receipts] of unused) {
    const output = plan.outputs[index]!
    const destination = await openDestination(output, addressOf(output)!, { force: true, notice: () => {} })
    await destination.abort(receipts)
  }
}

/** Files of outputs that parts have left in a store, on their way to this machine. */
export interface Arrivals {
  /** The folder of an output's files. */
  readonly folder: (output: number) => string | undefined
  /** Makes the folders. */
  readonly open: () => Promise<void>
  /** Brings all files. */
  readonly bring: () => Promise<void>
  readonly remove: () => Promise<void>
}

export interface ArrivalOptions {
  readonly plan: Plan
  /** Local paths, by output. */
  readonly outputs: readonly string[]
  readonly place: MeetingPlace
  readonly sent: readonly SentFile[]
  readonly sync: boolean
  readonly listen: Listener
  readonly signal?: AbortSignal | undefined
  readonly lost: (files: readonly SentFile[]) => Fault
}

/** In the name of the folder beside an output. */
const BESIDE = '.terge.arriving-'
/** A folder that may be in a work folder. */
const COMING = 'try-0000000000000000'

export function arrivals({ plan, outputs, place, sent, sync, listen, signal, lost }: ArrivalOptions): Arrivals {
  const uploaded = uploadedByParts(plan)
  const left = place.shelf ? [...leavingOutputs(plan, place)].filter((output) => !uploaded.has(output)) : []
  const folderOf = (output: number): string =>
    path.join(path.dirname(outputs[output]!), `${BESIDE}${path.basename(outputs[output]!)}`)
  const own = sent.filter(({ output }) => left.includes(output))
  const total = own.reduce((sum, { receipt }) => sum + receipt.size, 0)
  let done = 0

  async function bringOne(one: SentFile): Promise<void> {
    const { output, file, receipt } = one
    const { layout, files } = plan.outputs[output]!
    const name = layout === 'file' ? path.basename(outputs[output]!) : files[file]!.name
    const target = path.join(outputFolder(folderOf(output), output), name)
    // What an interrupted run brought is read back like everything else.
    if (!(await isCached(target, receipt.size))) {
      if (!(await place.shelf!.holds(receipt))) throw lost([one])
      const coming = path.join(folderOf(output), COMING, String(file))
      await place.shelf!.fetch(receipt, coming, { sync, signal })
      await mkdir(path.dirname(target), { recursive: true })
      await move(coming, target)
    }
    done += receipt.size
    const text = `downloaded ${formatSize(done)} of ${formatSize(total)}`
    const fraction = total > 0 ? done / total : 1
    listen({ kind: 'step', step: 'fetch', text, fraction, bytes: { done, total } })
  }

  return {
    folder: (output) => (left.includes(output) ? outputFolder(folderOf(output), output) : undefined),
    async open() {
      for (const output of left) await openShared(folderOf(output))
    },
    bring: () => eachOf(own, PARALLEL, bringOne),
    async remove() {
      for (const output of left) await removeShared(folderOf(output))
    },
  }
}
