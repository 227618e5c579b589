/** Checks that all parts of a run are there, and publishes its outputs. */
import { type Fault, fault } from '../../core/diagnostics.js'
import { counted, formatCount } from '../../core/words.js'
import { statisticsFiles } from '../../execute/schedule/statistics.js'
import type { ExecuteOptions } from '../../execute/types.js'
import { partsOf } from '../../plan/parts.js'
import { storedTensors } from '../../plan/stored.js'
import type { Plan } from '../../plan/types.js'
import type { Unit } from '../../plan/units.js'
import { outputFolder, removeShared, uploadsFolder } from '../../storage/local/shared/folder.js'
import { enter, othersIn } from '../../storage/local/shared/presence.js'
import { addressOf } from '../destinations/places.js'
import { fetchModels } from '../opened/models.js'
import type { Prepared } from '../plan.js'
import { type RunOptions, type RunResult, runWith } from '../run.js'
import type { PartRecord } from './records.js'
import {
  ANALYSE,
  certainDigests,
  modelsWith,
  needsAnalyses,
  partName,
  partsIn,
  partText,
  rankedBy,
  recordIn,
  workFolderOf,
} from './work.js'

/** How to finish parts. `resume` is of no use: an interrupted `finishParts` always continues. */
export type FinishOptions = Omit<RunOptions, 'resume' | 'disk'> & {
  /** The folder that all machines share. Default: one beside the first output. */
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
  if (options.digests === false)
    throw fault('contradiction', 'parts are recognized by digests, which --no-digests skips', 'remove --no-digests')
  const { plan } = given
  const work = workFolderOf(given, asked)
  const of = await partsIn(work, plan)
  // The outputs can be finished already: then nothing else is needed.
  if (of === undefined)
    return runWith(
      given,
      { ...options, resume: true },
      {
        ...internals,
        before: async () => {
          throw noPart(work)
        },
      },
    )
  const presence = await enter(work, 'finish')
  try {
    await refuseRunning(work, presence, options)
    const result = await publish(given, work, of, options, internals)
    await removeShared(work)
    return result
  } finally {
    await presence.leave()
  }
}

/** Parts that still write would write into published outputs. Error: `work-in-use`. */
async function refuseRunning(
  work: string,
  presence: Awaited<ReturnType<typeof enter>>,
  { listen, signal }: Pick<RunOptions, 'listen' | 'signal'>,
): Promise<void> {
  const waiting = (hosts: readonly string[]) =>
    listen?.({ kind: 'notice', message: `waiting to see whether processes on ${hosts.join(', ')} still work on parts` })
  const [one] = await othersIn(work, presence, (role) => role !== ANALYSE, { waiting, signal })
  if (!one) return
  throw fault(
    'work-in-use',
    one.role === 'finish'
      ? `${work}: another run on ${one.host} is finishing the parts`
      : `${work}: ${one.role.replaceAll('-', ' ')} is still running on ${one.host}`,
    'wait for it to end, then run --finish again',
  )
}

async function publish(
  given: Prepared,
  work: string,
  of: number,
  options: RunOptions,
  internals: Pick<ExecuteOptions, 'openPool'>,
): Promise<RunResult> {
  const found = needsAnalyses(given) ? await recordIn(work, given.plan, ANALYSE, ANALYSE) : undefined
  if (!found && needsAnalyses(given)) throw analysisMissing('are missing')
  const prepared = await rankedBy(given, found)
  const { plan, bindings, recipe } = prepared
  const parts: PartRecord[] = []
  const missing: number[] = []
  for (let index = 0; index < of; index++) {
    const record = await recordIn(work, given.plan, partName(index, of), partText(index, of))
    if (record) parts.push(record)
    else missing.push(index)
  }
  if (missing.length > 0) throw partsMissing(missing, of, 'not done')
  const all = [...(found ? [found] : []), ...parts]
  const known = new Map(all.flatMap((record) => [...certainDigests(prepared, record)]))
  const { listen = () => {}, signal } = options
  return runWith(
    prepared,
    { ...options, resume: true, ...(plan.outputs.some(addressOf) ? { work: uploadsFolder(work) } : {}) },
    {
      ...internals,
      records: all.flatMap(({ records }) => records),
      known,
      left: (units) => notDone(plan, of, units),
      staged: (output) => (output < plan.outputs.length ? outputFolder(work, output) : undefined),
      async before() {
        listen({ kind: 'notice', message: `reading back what ${counted(of, 'part')} wrote` })
        // Files whose digests are certain are not needed here.
        const models = modelsWith(prepared, options.sha256 ? bindings.files.keys() : filesToRead(plan, known))
        await fetchModels(models, { listen, ...(signal ? { signal } : {}) }, recipe)
      },
    },
  )
}

/** Files with tensors whose digests are not known, and those that checks of alignments and statistics read. */
function filesToRead(plan: Plan, known: ReadonlyMap<number, string>): Set<number> {
  const stored = storedTensors(plan)
  const files = statisticsFiles(plan)
  for (const number of stored.numbers()) if (!known.has(number)) files.add(stored.placeOf(number).file)
  return (plan.checks ?? []).length > 0 ? new Set(plan.files.keys()) : files
}

/** The error about units that no valid record exists for. */
function notDone(plan: Plan, of: number, units: readonly Unit[]): Fault {
  const [first] = units
  if (first!.makes.length === 0) return analysisMissing('were found with other inputs')
  const parts = partsOf(plan, of)
  const owners = new Set(
    units.flatMap(({ makes: [made] }) => parts.findIndex((part) => part.owns(made!.output, made!.tensor))),
  )
  const { output, tensor } = first!.makes[0]!
  const { name } = plan.outputs[output]!.tensors[tensor]!
  return partsMissing(
    [...owners].sort((a, b) => a - b),
    of,
    `not valid: the inputs or the bytes of ${formatCount(units.length)} of their tensors, such as ${name}, differ from what was recorded`,
  )
}

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

const noPart = (work: string): Fault =>
  fault('part-missing', `${work}: no part has been done`, 'run the same command with --part 0/N, and so on', 2)
