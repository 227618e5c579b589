/** Checks that all parts of a run are there, and publishes its outputs. */
import { mapEach } from '../../core/collections/eachOf.js'
import { Fault, fault } from '../../core/diagnostics.js'
import { counted, formatCount } from '../../core/words.js'
import { statisticsFiles } from '../../execute/schedule/statistics.js'
import type { ExecuteOptions } from '../../execute/types.js'
import { type PlanPart, partsOf } from '../../plan/parts.js'
import { storedTensors } from '../../plan/stored.js'
import type { Plan } from '../../plan/types.js'
import type { Unit } from '../../plan/units.js'
import { outputFolder, uploadsFolder } from '../../storage/local/shared/folder.js'
import { enter, othersIn } from '../../storage/meeting/presence.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import { addressOf, withWork } from '../destinations/places.js'
import { withoutAway } from '../opened/away.js'
import { fetchModels } from '../opened/models.js'
import type { Prepared } from '../plan.js'
import { type RunOptions, type RunResult, runWith } from '../run.js'
import { digestsOf } from '../sums/digests.js'
import { arrivals } from './arrivals.js'
import { type ArrivedFile, abortUnused, arrivedFrom, isPublishing, receivedFrom } from './arrived.js'
import { sentByAttempts } from './attempts.js'
import { type Leaving, leavingOutputs, meetingPlace } from './place.js'
import { bringPublished, keepPublished } from './published.js'
import type { PartRecord } from './records.js'
import {
  ANALYSE,
  certainDigests,
  certainSums,
  modelsWith,
  needsAnalyses,
  partName,
  partsIn,
  partText,
  rankedBy,
  recordIn,
  refuseWithout,
} from './work.js'

/** How to finish parts. `resume` is of no use: an interrupted `finishParts` always continues. */
export type FinishOptions = Omit<RunOptions, 'resume'> & {
  /** Where parts meet: a folder that all machines share, or `s3://bucket/prefix`. Default: a folder beside the first output. */
  readonly work?: string
}

/**
 * Publishes the outputs of a plan whose parts are done: reads back what they wrote, compares it with their records, and writes lineages
 * as a run of the whole plan does. The result is the same, byte for byte. Removes the work folder.
 *
 * @throws `part-missing` if parts are not there, or what they wrote differs from their records
 * @throws `analysis-missing` if the results of analyses are not there
 * @throws `other-work` if the work folder has parts of another plan
 * @throws `work-in-use` if parts are still running
 * @throws the errors of `run`
 */
export const finishParts = (prepared: Prepared, options: FinishOptions = {}): Promise<RunResult> =>
  finishPartsWith(prepared, options, {})

export async function finishPartsWith(
  given: Prepared,
  { work: asked, ...options }: FinishOptions,
  internals: Pick<ExecuteOptions, 'openPool'>,
): Promise<RunResult> {
  refuseWithout(digestsOf(options))
  const { plan } = given
  const place = await meetingPlace(given, asked)
  const uploads = plan.outputs.some(addressOf) && place.folder !== undefined ? uploadsFolder(place.folder) : undefined
  const own = { ...options, resume: true, ...(uploads === undefined ? {} : { work: uploads }) }
  await bringPublished(given, place, uploads)
  const of = await partsIn(place, plan)
  // The outputs can be finished already: then nothing else is needed.
  if (of === undefined) {
    const before = async () => {
      throw noPart(place)
    }
    const result = await runWith(given, own, { ...internals, before })
    if (await place.isThere()) await keepPublished(given, place, uploads)
    return result
  }
  const presence = await enter(place, 'finish')
  try {
    await refuseRunning(place, presence, options)
    const result = await publish(given, place, of, own, internals)
    await keepPublished(given, place, uploads)
    return result
  } finally {
    await presence.leave()
  }
}

/** Parts that still write would write into published outputs. Error: `work-in-use`. */
async function refuseRunning(
  place: MeetingPlace,
  presence: Awaited<ReturnType<typeof enter>>,
  { listen, signal }: Pick<RunOptions, 'listen' | 'signal'>,
): Promise<void> {
  const { reference } = place
  const waiting = (hosts: readonly string[]) =>
    listen?.({ kind: 'notice', message: `waiting to see whether processes on ${hosts.join(', ')} still work on parts` })
  const [one] = await othersIn(place, presence, (role) => role !== ANALYSE, { waiting, signal })
  if (!one) return
  throw fault(
    'work-in-use',
    one.role === 'finish'
      ? `${reference}: another run on ${one.host} is finishing the parts`
      : `${reference}: ${one.role.replaceAll('-', ' ')} is still running on ${one.host}`,
    'wait for it to end, then run --finish again',
  )
}

async function publish(
  given: Prepared,
  place: MeetingPlace,
  of: number,
  options: RunOptions,
  internals: Pick<ExecuteOptions, 'openPool'>,
): Promise<RunResult> {
  const { digest } = given.plan
  const analysed = { digest, plan: given.plan, part: ANALYSE }
  const found = needsAnalyses(given) ? await recordIn(place, ANALYSE, analysed) : undefined
  if (!found && needsAnalyses(given)) throw analysisMissing('are missing')
  const prepared = await rankedBy(given, found)
  const { plan, bindings, recipe } = prepared
  const leaving = leavingOutputs(plan, of, place)
  const all = partsOf(plan, of, leaving.uploaded)
  const { records, arrived } = await recordsOf(place, { digest, plan }, all, leaving)
  const every = [...(found ? [found] : []), ...records]
  const known = new Map(every.flatMap((record) => [...certainDigests(prepared, record)]))
  const { listen = () => {}, signal, sync = true } = options
  const lost = (files: readonly ArrivedFile[]) => uploadsLost(plan, of, files)
  const received = receivedFrom(leaving, arrived, { place, publishing: await isPublishing(place) }, lost)
  const outputs = withWork(plan, bindings.outputs, options.work)
  const arriving = arrivals({ plan, outputs, place, leaving, arrived, sync, listen, signal, lost })
  const knownSums = new Map(every.flatMap((record) => [...certainSums(prepared, record)]))
  const reads = filesToRead(plan, known)
  if (digestsOf(options) === 'full') for (const file of plan.files.keys()) if (!knownSums.has(file)) reads.add(file)
  await arriving.open()
  try {
    const result = await runWith(prepared, options, {
      ...internals,
      records: every.flatMap(({ records }) => records),
      ...{ known, knownSums, reads, received },
      left: (units) => notDone(all, plan, units),
      staged: (output) => (output < plan.outputs.length ? stagedAt(output) : undefined),
      async before(stream) {
        await arriving.bring()
        listen({ kind: 'notice', message: `reading back what ${counted(of, 'part')} wrote` })
        // Files whose digests are certain are not needed here.
        const models = modelsWith(prepared, reads)
        await fetchModels(withoutAway(models, stream?.away ?? []), { listen, ...(signal ? { signal } : {}) }, recipe)
      },
    })
    await abortUnused(plan, leaving, await sentByAttempts(place, { digest, plan }), arrived)
    await arriving.remove()
    return result
  } catch (error) {
    const code = error instanceof Fault ? error.diagnostics[0]?.code : undefined
    // What was brought may be what is wrong.
    if (code === 'part-missing') await arriving.remove()
    throw code === 'upload-lost' ? lostMeanwhile(error as Fault) : error
  }

  function stagedAt(output: number): string | undefined {
    return leaving.all.has(output) ? arriving.folder(output) : outputFolder(place.folder!, output)
  }
}

/** The records of all parts, and the files that they have sent. Error: `part-missing`. */
async function recordsOf(
  place: MeetingPlace,
  about: { readonly digest: string; readonly plan: Plan },
  parts: readonly PlanPart[],
  leaving: Leaving,
): Promise<{ readonly records: readonly PartRecord[]; readonly arrived: readonly ArrivedFile[] }> {
  const of = parts.length
  const found = await mapEach(parts, AT_ONCE, async (part) => {
    const { index } = part
    const record = await recordIn(place, partName(index, of), { ...about, part: partText(index, of) })
    const arrived = record && arrivedFrom(about.plan, part, record, leaving)
    return arrived && { record, arrived }
  })
  const missing = parts.flatMap(({ index }) => (found[index] ? [] : index))
  if (missing.length > 0) throw partsMissing(missing, of, 'not done')
  const all = found.flatMap((one) => one ?? [])
  return { records: all.map(({ record }) => record), arrived: all.flatMap(({ arrived }) => arrived) }
}

/** Files with tensors whose digests are not known, and those that checks of alignments and statistics read. */
function filesToRead(plan: Plan, known: ReadonlyMap<number, string>): Set<number> {
  const stored = storedTensors(plan)
  const files = statisticsFiles(plan)
  for (const number of stored.numbers()) if (!known.has(number)) files.add(stored.placeOf(number).file)
  return (plan.checks ?? []).length > 0 ? new Set(plan.files.keys()) : files
}

/** The error about units that no valid record exists for. */
function notDone(parts: readonly PlanPart[], plan: Plan, units: readonly Unit[]): Fault {
  const [first] = units
  if (first!.makes.length === 0) return analysisMissing('were found with other inputs')
  const owners = new Set(
    units.flatMap(({ makes: [made] }) => parts.findIndex((part) => part.owns(made!.output, made!.tensor))),
  )
  const { output, tensor } = first!.makes[0]!
  const { name } = plan.outputs[output]!.tensors[tensor]!
  return partsMissing(
    [...owners].sort((a, b) => a - b),
    parts.length,
    `not valid: the inputs or the bytes of ${formatCount(units.length)} of their tensors, such as ${name}, differ from what was recorded`,
  )
}

/** The error about files that are no longer where parts have sent them. */
function uploadsLost({ outputs }: Plan, of: number, files: readonly ArrivedFile[]): Fault {
  const owners = [...new Set(files.map(({ part }) => part.index))].sort((a, b) => a - b)
  const { output, file } = files[0]!
  const name = outputs[output]!.files[file]!.name
  const what = `the uploads of ${counted(files.length, 'file')}, such as ${name}, are no longer there`
  return partsMissing(owners, of, `not valid: ${what}`)
}

/** An upload that was there when the run began. */
const lostMeanwhile = ({ diagnostics, exit }: Fault): Fault =>
  new Fault(
    diagnostics.map((one) => ({ ...one, hint: 'run --finish again: it names the part that must be run again' })),
    exit,
  )

/** Records that are read at the same time. */
const AT_ONCE = 8
const LISTED = 20

function partsMissing(parts: readonly number[], of: number, what: string): Fault {
  const listed = ranges(parts)
  const more = listed.length > LISTED ? ` and ${counted(listed.length - LISTED, 'more range')}` : ''
  const [first] = parts
  return fault(
    'part-missing',
    `${counted(parts.length, 'part')} of ${of} ${parts.length === 1 ? 'is' : 'are'} ${what}: ${listed.slice(0, LISTED).join(', ')}${more}`,
    `run the same command with --part ${first}/${of}${parts.length > 1 ? ', and so on' : ''}, then --finish again`,
    1,
  )
}

/** Numbers in ascending order, as `3` and `7-9`. */
function ranges(numbers: readonly number[]): string[] {
  const found: [from: number, to: number][] = []
  for (const number of numbers) {
    const last = found.at(-1)
    if (last && last[1] === number - 1) last[1] = number
    else found.push([number, number])
  }
  return found.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`))
}

const analysisMissing = (what: string): Fault =>
  fault(
    'analysis-missing',
    `the results of the analyses, which all parts need, ${what}`,
    'run the same command with --part analyse, then the parts, then --finish',
    1,
  )

const noPart = ({ reference }: MeetingPlace): Fault =>
  fault('part-missing', `${reference}: no part has been done`, 'run the same command with --part 0/N, and so on', 2)
