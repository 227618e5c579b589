/** What the parts of a run have sent: to the addresses of outputs, or to the place where parts meet. */
import type { Fault } from '../../core/diagnostics.js'
import type { Listener } from '../../execute/events.js'
import type { PlanPart } from '../../plan/parts.js'
import type { Plan } from '../../plan/types.js'
import { readRecord } from '../../storage/meeting/records.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import { type Destination, isWhole } from '../../storage/remote/upload.js'
import { type HubHeads, openDestination, weightNames } from '../destinations/open.js'
import { addressOf } from '../destinations/places.js'
import type { ReceivedOutputs } from '../run.js'
import type { Leaving } from './place.js'
import type { PartRecord, SentFile } from './records.js'
import { isFor } from './sending.js'

/** The record that files can be visible from now on. */
const PUBLISHING = 'publishing'

export const isPublishing = async (place: MeetingPlace): Promise<boolean> =>
  (await readRecord(place, PUBLISHING)) !== undefined

/**
 * The addresses of outputs, checked before anything is read. Errors: `output-exists` without force, those of requests.
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
  const found = new Map<number, Destination>()
  const notice = (message: string): void => listen({ kind: 'notice', message })
  const heads: HubHeads = new Map()
  for (const [index, output] of plan.outputs.entries()) {
    const address = addressOf(output)
    if (!address) continue
    const destination = await openDestination(output, address, { force, notice, heads })
    await destination.begin({ receipts: [], publishing: await isPublishing(place), inParts: true }, signal)
    found.set(index, destination)
  }
  return found
}

/** A file that a part has sent. */
export interface ArrivedFile extends SentFile {
  readonly part: PlanPart
}

/** What a part had to send, by its record. Undefined if something is missing, or is not what the part makes. */
export function arrivedFrom(
  plan: Plan,
  part: PlanPart,
  { sent }: PartRecord,
  leaving: Leaving,
): ArrivedFile[] | undefined {
  const wanted = [...part.written].flatMap(([output, files]) =>
    leaving.all.has(output) ? files.map((file) => ({ output, file })) : [],
  )
  const found = wanted.flatMap(({ output, file }) => {
    const one = sent.find((one) => one.output === output && one.file === file)
    const whole = one?.receipt.digests !== undefined && isWhole(one.receipt) && isFor(plan, part, leaving, one)
    return whole ? { ...one, part } : []
  })
  return found.length === wanted.length ? found : undefined
}

/** The uploads of parts, for the run that publishes them. */
export function receivedFrom(
  { uploaded }: Leaving,
  arrived: readonly ArrivedFile[],
  { place, publishing }: { readonly place: MeetingPlace; readonly publishing: boolean },
  lost: (files: readonly ArrivedFile[]) => Fault,
): ReceivedOutputs {
  const of = (output: number): readonly ArrivedFile[] =>
    uploaded.has(output) ? arrived.filter((one) => one.output === output) : []
  return {
    outputs: uploaded,
    of: (output) =>
      uploaded.has(output)
        ? { receipts: of(output).map(({ receipt }) => receipt), publishing, inParts: true }
        : undefined,
    sumOf(output, file) {
      const { sha256 } = of(output).find((one) => one.file === file)?.receipt ?? {}
      return sha256 === undefined ? undefined : `sha256:${sha256}`
    },
    lost: (output, receipts) => lost(of(output).filter(({ receipt }) => receipts.includes(receipt))),
    publishing: () => place.write(`${PUBLISHING}.record`, '{}\n'),
  }
}

/** Removes uploads of attempts that no record has. They can be uploads of these outputs only. */
export async function abortUnused(
  plan: Plan,
  { uploaded }: Leaving,
  all: readonly SentFile[],
  used: readonly SentFile[],
): Promise<void> {
  const kept = new Set(used.flatMap(({ receipt }) => receipt.upload?.id ?? []))
  for (const index of uploaded) {
    const output = plan.outputs[index]!
    const address = addressOf(output)!
    const names = weightNames(output, address)
    const unused = all.flatMap((one) => {
      const { file, receipt } = one
      const isOwn = one.output === index && receipt.name === names[file]
      return isOwn && receipt.upload && !kept.has(receipt.upload.id) ? receipt : []
    })
    if (unused.length === 0) continue
    const destination = await openDestination(output, address, { force: true, notice: () => {} })
    await destination.abort(unused)
  }
}
