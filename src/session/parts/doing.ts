/** The work of a part, and of the analyses that all parts need. */
import { mkdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import type { Listener } from '../../execute/events.js'
import { claimedOutput } from '../../execute/outputs.js'
import { type DonePart, executePart } from '../../execute/parts/part.js'
import { statisticsFiles } from '../../execute/schedule/statistics.js'
import type { ExecuteOptions } from '../../execute/types.js'
import type { Part } from '../../execute/units/types.js'
import { partsOf } from '../../plan/parts.js'
import { storedTensors } from '../../plan/stored.js'
import type { Plan } from '../../plan/types.js'
import { planUnits } from '../../plan/units.js'
import { workRoot } from '../../storage/local/cacheRoot.js'
import { makeScratch, removeScratch } from '../../storage/local/scratch.js'
import { flushFiles, sharedStaging } from '../../storage/local/shared/files.js'
import { makeOwnFolder, outputFolder } from '../../storage/local/shared/folder.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import type { Destination } from '../../storage/remote/upload.js'
import { refuseCommands } from '../checks/commands.js'
import { modelsHere, withoutAway } from '../opened/away.js'
import { checkSums, fetchModels } from '../opened/models.js'
import { type OpenStream, type StreamOptions, withStream } from '../opened/streaming.js'
import type { Prepared } from '../plan.js'
import { checkSignedWeights } from '../proof/signedInputs.js'
import { executeOptions, surveyed } from '../run.js'
import { digestsOf } from '../sums/digests.js'
import { type Attempt, openAttempt, sentByAttempts } from './attempts.js'
import type { PartInternals, PartOptions } from './options.js'
import { leavingOutputs } from './place.js'
import type { PartRecord } from './records.js'
import { openSending } from './sending.js'
import { firstReads, sumsOf } from './sums.js'
import {
  ANALYSE,
  certainDigests,
  isOpen,
  modelsWith,
  needsAnalyses,
  partName,
  partText,
  rankedBy,
  recordIn,
} from './work.js'

/** In place of an absolute path. */
const CACHE = 'cache'

/** Where a part is done, and how. */
export interface Site {
  /** As the recipe gives it: ranks by energy can be open. */
  readonly given: Prepared
  readonly place: MeetingPlace
  /** By output: those that parts upload to their addresses. */
  readonly destinations: ReadonlyMap<number, Destination>
  readonly options: PartOptions & { readonly listen: Listener }
  readonly internals: PartInternals
}

/** What a part is, before it is recorded. */
export interface Made {
  readonly record: PartRecord
  readonly tensors: number
  readonly bytes: number
  /** Called when the record is there: removes what only an interrupted part needs. */
  readonly close: () => Promise<void>
  /** Called if the parts were finished meanwhile: removes what nobody needs any more. Never throws. */
  readonly abandon: () => Promise<void>
}

const quietly =
  (work: () => Promise<void>): (() => Promise<void>) =>
  () =>
    work().catch(() => {})

const NOTHING_LEFT = { close: async () => {}, abandon: async () => {} }

/** Finds what all parts need: ranks by energy, and the results of analyses and scopes. */
export async function analyse(site: Site): Promise<Made> {
  const { given, place, options } = site
  const { plan: first, recipe } = given
  const part: Part = { finds: true, owns: () => false, digests: () => false, cost: { read: 0, write: 0, tensors: 0 } }
  const about = { plan: first.digest, part: ANALYSE, sent: [] }
  if (!needsAnalyses(given)) {
    const record = { ...about, ranks: [], records: [], digests: [], states: [], sums: [] }
    return { record, tensors: 0, bytes: 0, ...NOTHING_LEFT }
  }
  const judged = first.analyses.some(({ select }) => select)
  if ((options.commands ?? 'refuse') === 'refuse' && judged) refuseCommands(recipe)
  const rankOf = given.withRanks ? await surveyed(given, { ...options, resume: true }) : undefined
  const prepared = rankOf && given.withRanks ? await given.withRanks(rankOf) : given
  const { plan } = prepared
  const ranks = first.factorings.flatMap(({ step, tensor }) => {
    const rank = rankOf?.(step, tensor)
    return rank === undefined ? [] : [[step, tensor, rank] as const]
  })
  const stored = storedTensors(plan)
  // Candidates are whole outputs. They are made here, and parts that run at the same time must not see them.
  const reads = judged
    ? allFiles(plan)
    : new Set([
        ...statisticsFiles(plan),
        ...planUnits(plan)
          .shared()
          .flatMap(({ reads }) => reads.map((number) => stored.placeOf(number).file)),
      ])
  return withFolder(place.folder ?? CACHE, async (own) => {
    const attempt = await openAttempt(place, ANALYSE, own)
    const streamed = { part: { finds: true, owns: () => false, digested: new Set<number>() }, reads }
    const done = await execute(site, prepared, attempt, streamed, (stream) => ({
      ...{ part, stream, first: [], more: {} },
      folder: (output) => path.join(own!, String(output)),
      own: (output) => new Set(judged ? plan.outputs[output]!.files.keys() : []),
    }))
    const close = attempt.close
    return { record: { ...about, ranks, ...done }, tensors: 0, bytes: 0, close, abandon: quietly(close) }
  })
}

/** Makes the tensors of a part. */
export async function doPart(
  site: Site,
  { index, of }: { readonly index: number; readonly of: number },
): Promise<Made> {
  const { given, place, destinations, options } = site
  const { listen, signal } = options
  const { digest } = given.plan
  const found = needsAnalyses(given)
    ? await recordIn(place, ANALYSE, { digest, plan: given.plan, part: ANALYSE })
    : undefined
  if (!found && needsAnalyses(given)) throw analysisMissing(given)
  const prepared = await rankedBy(given, found)
  const { plan } = prepared
  const [role, text] = [partName(index, of), partText(index, of)]
  const leaving = leavingOutputs(plan, of, place)
  const parts = partsOf(plan, of, leaving.uploaded)
  const own = parts[index]!
  const { files, digested, written, owns } = own
  const gone = [...written.keys()].filter((output) => leaving.all.has(output))
  if (own.cost.read + own.cost.write === 0)
    listen({
      kind: 'notice',
      message: `part ${index} of ${of} has nothing to do: there are more parts than pieces of work`,
    })
  return withFolder(leaving.all.size > 0 ? CACHE : undefined, async (scratch) => {
    const earlier = await recordIn(place, role, { digest, plan, part: text })
    const attempt = await openAttempt(place, role, scratch)
    const attempts = gone.length > 0 ? await sentByAttempts(place, { digest, plan }, role) : []
    const sending = await openSending({
      ...{ plan, digest, place, attempt: attempt.name, part: own, leaving, destinations, listen, signal },
      earlier: [...(earlier?.sent ?? []), ...attempts],
      left: attempt.save,
    })
    const abandon = async (): Promise<void> => {
      await sending.abandon()
      await quietly(attempt.close)()
    }
    const folder = (output: number): string =>
      leaving.all.has(output) ? path.join(scratch!, String(output)) : outputFolder(place.folder!, output)
    for (const output of gone) await mkdir(folder(output), { recursive: true })
    const streamed = {
      ...{ uploaded: new Set(gone), leaving: true, reads: new Set(files) },
      part: { finds: false, owns, digested: new Set(digested) },
    }
    try {
      const done = await execute(site, prepared, attempt, streamed, (stream) => ({
        ...{ part: { finds: false, owns, digests: own.digests, cost: own.cost }, stream, folder },
        first: firstReads(parts, index),
        own: (output) => new Set(written.get(output) ?? []),
        more: {
          deliveries: sending.deliveries,
          records: [...(found?.records ?? []), ...(earlier?.records ?? [])],
          ...(found ? { known: certainDigests(prepared, found) } : {}),
          left: () => analysisMissing(given, 'were found with other inputs'),
        },
      }))
      const stay = [...written].filter(([output]) => !leaving.all.has(output))
      if (options.sync ?? true) await flushShared(prepared, stay, folder)
      const record = { plan: digest, part: text, ranks: [], sent: sending.sent(), ...done }
      return { record, tensors: own.cost.tensors, bytes: own.cost.write, close: attempt.close, abandon }
    } catch (error) {
      // Another attempt continues with what has left.
      if (await isOpen(place).catch(() => true)) await Promise.allSettled([sending.save(), attempt.save()])
      else await abandon()
      throw error
    }
  })
}

async function flushShared(
  prepared: Prepared,
  written: readonly (readonly [number, readonly number[]])[],
  folder: (output: number) => string,
): Promise<void> {
  for (const [output, own] of written) {
    const { files } = claimedOutput(prepared.plan, output, stagingOf(prepared, output, folder(output), true))
    await flushFiles(
      folder(output),
      own.map((file) => path.relative(folder(output), files[file]!)),
    )
  }
}

/** Gives the work a folder of this process, if it needs one: in a folder that all share, or in the cache of this machine. */
async function withFolder<T>(where: string | undefined, work: (own: string | undefined) => Promise<T>): Promise<T> {
  if (where === undefined) return work(undefined)
  const own = where === CACHE ? await makeScratch(workRoot(), 'part-') : await makeOwnFolder(where)
  try {
    return await work(own)
  } finally {
    await removeScratch(own)
  }
}

interface Doing {
  readonly part: Part
  readonly stream: OpenStream | undefined
  /** The files that it hashes. */
  readonly first: readonly number[]
  readonly folder: (output: number) => string
  /** The files that it makes, by output. */
  readonly own: (output: number) => ReadonlySet<number>
  readonly more: Pick<ExecuteOptions, 'deliveries' | 'records' | 'known' | 'left'>
}

/** Runs a part, with a journal that other attempts at it can read. */
async function execute(
  { options, internals }: Site,
  prepared: Prepared,
  attempt: Attempt,
  streamed: Pick<StreamOptions, 'part' | 'uploaded' | 'leaving'> & { readonly reads: Iterable<number> },
  doing: (stream: OpenStream | undefined) => Doing,
): Promise<DonePart & Pick<PartRecord, 'sums'>> {
  const { plan, bindings } = prepared
  const { disk, listen, signal } = options
  const digests = digestsOf(options)
  const reads = new Set(streamed.reads)
  const inStages = { ...streamed, reads, digests, listen, signal, resume: true, commands: false, finished: () => false }
  try {
    return await withStream(prepared, { ...inStages, ...(disk === undefined ? {} : { disk }) }, async (stream) => {
      const { part, folder, own, more, first } = doing(stream)
      const done = await executePart(
        plan,
        stream?.bindings ?? bindings,
        { ...optionsFor(prepared, options, reads, stream), ...internals, ...more },
        part,
        {
          own,
          staging: (output) => stagingOf(prepared, output, folder(output), more.deliveries?.has(output) !== true),
          journal: { own: attempt.journal, others: attempt.others, records: [] },
        },
      )
      return { ...done, sums: await sumsOf(prepared, first, done.states, stream, options) }
    })
  } finally {
    attempt.end()
  }
}

const stagingOf = ({ plan, bindings }: Prepared, output: number, folder: string, shared: boolean) => ({
  ...sharedStaging(bindings.outputs[output]!, plan.outputs[output]!.layout, folder),
  shared,
})

const allFiles = ({ files }: Plan): Set<number> => new Set(files.keys())

/** Options for a run that reads only some of the plan's files. */
function optionsFor(
  prepared: Prepared,
  options: Site['options'],
  files: ReadonlySet<number>,
  stream: OpenStream | undefined,
): ExecuteOptions {
  const { recipe } = prepared
  const { listen, signal } = options
  const models = modelsWith(prepared, files)
  const away = stream?.away ?? []
  return {
    ...executeOptions(prepared, options, { stream }),
    async before() {
      await fetchModels(withoutAway(models, away), { listen, signal }, recipe)
      await checkSums(recipe, modelsHere(models, away), { listen, signal })
      const coming = new Set(away.map(({ file }) => file))
      const hashing = { threads: options.threads ?? availableParallelism(), listen, signal }
      await checkSignedWeights(prepared, (file) => files.has(file) && !coming.has(file), hashing)
    },
  }
}

const analysisMissing = ({ plan }: Prepared, what = 'are missing') => {
  const [first] = plan.analyses
  const of = first ? `step ${first.steps[0]}` : 'the whole models'
  return fault(
    'analysis-missing',
    `the results of the analyses, which all parts need (${of}), ${what}`,
    'first run the same command with --part analyse',
  )
}
