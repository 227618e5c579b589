/** Does one part of a run, or the analyses that all parts need. */
import { type Diagnostic, fault } from '../../core/diagnostics.js'
import type { Listener } from '../../execute/events.js'
import { withPace } from '../../execute/paced.js'
import { enter, othersIn } from '../../storage/meeting/presence.js'
import { writeRecord } from '../../storage/meeting/records.js'
import type { Prepared } from '../plan.js'
import { digestsOf } from '../sums/digests.js'
import { openDestinations } from './arrived.js'
import { analyse, doPart } from './doing.js'
import type { PartInternals, PartOptions } from './options.js'
import { meetingPlace } from './place.js'
import { recordText } from './records.js'
import { ANALYSE, MOST_PARTS, openWork, partName, refuseOtherWork, refuseOutputs, refuseWithout } from './work.js'

/** `analyse`, or the index of a part, from 0, and the number of parts. */
export type PartChoice = 'analyse' | { readonly index: number; readonly of: number }

/** The result of a part. */
export interface PartResult {
  /** Absolute path of the work folder, or its address. */
  readonly work: string
  /** The number of tensors that it made. */
  readonly tensors: number
  /** Bytes that it wrote. */
  readonly bytes: number
  /** Warnings about the results. */
  readonly warnings: readonly Diagnostic[]
  /** How long it took. */
  readonly seconds: number
}

/**
 * Does one part of a plan, or its analyses, and records it in the work folder. Parts can run on several machines at the same time, in
 * any order, again after a failure, and twice at once. `finishParts` publishes the outputs when all are done.
 *
 * @throws `analysis-missing` if the plan has analyses that were not run yet
 * @throws `other-work` if the work folder has parts of another plan, or another number of parts
 * @throws `work-in-use` if the parts are being finished
 * @throws the errors of `run` about inputs and outputs
 */
export const runPart = (prepared: Prepared, choice: PartChoice, options: PartOptions = {}): Promise<PartResult> =>
  runPartWith(prepared, choice, options, {})

export const runPartWith = (
  prepared: Prepared,
  choice: PartChoice,
  options: PartOptions,
  internals: PartInternals,
): Promise<PartResult> =>
  withPace(options.listen, (listen) =>
    runPaced(prepared, choice, { ...options, ...(listen ? { listen } : {}) }, internals),
  )

async function runPaced(
  given: Prepared,
  choice: PartChoice,
  options: PartOptions,
  internals: PartInternals,
): Promise<PartResult> {
  const started = performance.now()
  refuseWithout(digestsOf(options))
  if (choice !== ANALYSE) checkChoice(choice)
  const warnings: Diagnostic[] = []
  const listen: Listener = (event) => {
    if (event.kind === 'warning') warnings.push(event.diagnostic)
    options.listen?.(event)
  }
  const { plan } = given
  const { signal, force = false, sync = true } = options
  const place = await meetingPlace(given, options.work)
  await refuseOutputs(given, force)
  const of = choice === ANALYSE ? undefined : choice.of
  const destinations = await openDestinations(plan, place, { force, listen, signal })
  await openWork(place, plan, of)
  const role = choice === ANALYSE ? ANALYSE : partName(choice.index, choice.of)
  const presence = await enter(place, role)
  try {
    if ((await othersIn(place, presence, (role) => role === 'finish', { signal })).length > 0)
      throw fault('work-in-use', `${place.reference}: another run is finishing the parts`, 'wait for it to end')
    const site = { given, place, destinations, options: { ...options, listen }, internals }
    const made = choice === ANALYSE ? await analyse(site) : await doPart(site, choice)
    await refuseOtherWork(place, plan, of).catch(async (error: unknown) => {
      await made.abandon()
      throw error
    })
    await writeRecord(place, role, recordText(made.record), sync)
    await made.close()
    const seconds = (performance.now() - started) / 1000
    listen({ kind: 'end', seconds })
    return { work: place.reference, tensors: made.tensors, bytes: made.bytes, warnings, seconds }
  } finally {
    await presence.leave()
  }
}

function checkChoice({ index, of }: { readonly index: number; readonly of: number }): void {
  if (Number.isInteger(index) && Number.isInteger(of) && index >= 0 && index < of && of <= MOST_PARTS) return
  throw fault(
    'bad-value',
    `there is no part ${index} of ${of}`,
    `write parts from 0 to N − 1, of at most ${MOST_PARTS}`,
  )
}
