/** Runs whose inputs are fetched a few files at a time: the order of the work, and who brings the files. */
import { fault } from '../../core/diagnostics.js'
import { formatSize, sizeFlag } from '../../core/sizes.js'
import { withChecks } from '../../execute/commands/checks.js'
import type { Listener } from '../../execute/events.js'
import type { Bindings, Streaming } from '../../execute/types.js'
import { openFactorings } from '../../execute/units/survey.js'
import { flowOf } from '../../plan/flow/flow.js'
import type { Flow, FlowOptions, FlowPart } from '../../plan/flow/types.js'
import type { Plan } from '../../plan/types.js'
import { earlyOutputs, lateUploads } from '../destinations/places.js'
import type { Prepared } from '../plan.js'
import type { Digests } from '../sums/digests.js'
import { type AwayFile, awayFiles, type Sources } from './away.js'
import { placed } from './models.js'
import { type OpenSupply, openSupply, sweepSupplies } from './supply.js'

export interface StreamOptions {
  /** Bytes that the disk may take. Absent: files go to the cache. */
  readonly disk?: number
  readonly digests: Digests
  readonly resume?: boolean
  /** Whether commands run, which need checkpoints of their own. */
  readonly commands: boolean
  readonly finished: (output: number) => boolean
  /** A survey of these factorings in place of a run. */
  readonly survey?: readonly number[]
  /** Outputs whose files leave this machine when they are complete. Default: none. */
  readonly uploaded?: ReadonlySet<number>
  /** Whether files leave although the disk is not limited. */
  readonly leaving?: boolean
  /** One of several runs that share the work. */
  readonly part?: FlowPart
  /** `Plan.files` that the run reads. Default: all. */
  readonly reads?: ReadonlySet<number> | undefined
  readonly listen: Listener
  readonly signal?: AbortSignal | undefined
}

export interface OpenStream extends Streaming {
  readonly supply: OpenSupply
  readonly away: readonly AwayFile[]
  /** With the places of files while they are there. */
  readonly bindings: Bindings
}

/**
 * Does work with the files that come and go; without `disk` there are none. Removes what it fetched, unless a resume can use it.
 * Error: `disk-too-small`, before anything is fetched.
 */
export async function withStream<T>(
  prepared: Prepared,
  options: StreamOptions,
  work: (stream: OpenStream | undefined) => Promise<T>,
): Promise<T> {
  const { disk, resume = false } = options
  const isRemote = [...prepared.models.values()].some(({ checkpoint }) => checkpoint.revision !== undefined)
  if (isRemote && !resume) await sweepSupplies()
  const inStages = disk !== undefined || (options.leaving === true && (options.uploaded?.size ?? 0) > 0)
  const stream = inStages ? await openStream(prepared, disk, options) : undefined
  let isDone = false
  try {
    const result = await work(stream)
    isDone = true
    return result
  } finally {
    await stream?.supply.close(resume && !isDone)
  }
}

/** Undefined if everything is on this machine. */
async function openStream(
  sources: Prepared,
  limit: number | undefined,
  options: StreamOptions,
): Promise<OpenStream | undefined> {
  const { bindings } = sources
  const { digests, resume = false, finished, uploaded = new Set(), survey } = options
  const { listen, signal, part, reads } = options
  const disk = limit ?? Number.POSITIVE_INFINITY
  const all = limit === undefined ? [] : await awayFiles(sources)
  const away = reads ? all.filter(({ file }) => reads.has(file)) : all
  if (away.length + uploaded.size === 0) {
    // A survey is followed by a run, which says so.
    const message = '--disk has no effect: all files of the models are on this machine'
    if (!survey && all.length === 0) listen({ kind: 'notice', message })
    return undefined
  }
  const narrowed = { ...(survey ? { survey } : {}), ...(part ? { part } : {}) }
  const bounds = { disk, digests: digests !== 'none', finished, uploaded, commands: options.commands, ...narrowed }
  const { plan, flow } = boundedFlow(sources, away, bounds)
  if (flow.leastDisk > disk) throw tooSmall(sources, plan, flow, disk)
  const supply = await openSupply(away, { disk, resume, sha256: digests === 'full', listen, signal })
  return {
    ...{ flow, supply, away },
    bindings: { ...bindings, files: bindings.files.map((place, file) => supply.placeOf(file) ?? place) },
  }
}

/** The work in the order of a run whose disk has bounds. The plan has the checkpoints of checks if commands run. */
function boundedFlow(
  sources: Prepared,
  away: readonly AwayFile[],
  { commands, ...options }: Omit<FlowOptions, 'away'> & { readonly commands: boolean },
): { readonly plan: Plan; readonly flow: Flow } {
  const { plan } = commands ? withChecks(sources.plan, sources.bindings) : sources
  return { plan, flow: flowOf(plan, { ...options, away: contentsOf(away) }) }
}

/** What a run would fetch. */
export interface Downloads {
  /** Bytes of files that are not on this machine. */
  readonly bytes: number
  /** The least `disk` of a run, in bytes. */
  readonly leastDisk: number
  /** What needs so much: a tensor, or a step that reads whole models. */
  readonly neededFor: string
  /** Bytes that a run with this `disk` fetches: more if files have to come again. */
  readonly bytesAtLeast: number
  /** The least `disk` with which each file comes once. Absent if files have to come for a survey of ranks first. */
  readonly diskForOnce?: number
  /** What a run with the given `disk` does. Absent without `disk`. */
  readonly bounded?: BoundedRun
}

/** A run whose files come and go. */
export interface BoundedRun {
  /** The given bound, in bytes. */
  readonly disk: number
  /** Bytes that the run fetches. */
  readonly bytes: number
  /** Steps at which files come or go. 0 if all files are on this machine: then the bound has no effect. */
  readonly stages: number
  /** Outputs that the bound does not limit, and why, as texts for people. */
  readonly unlimited: readonly string[]
}

/** What is known of a run whose downloads are planned. */
export interface DownloadOptions {
  /** Bytes of disk, as in the options of `run`. */
  readonly disk?: number
  /** Whether the run runs the commands of the recipe. Default: `run`. */
  readonly commands?: 'run' | 'skip'
}

/**
 * The downloads of a plan: what a run fetches, and the least disk that it needs for it. Undefined if all files are on this machine and
 * there is no `disk`. Asks nobody: planning has found out what is there.
 *
 * @throws `disk-too-small` if `disk` is not enough for the files that are needed together
 */
export async function planDownloads(
  prepared: Prepared,
  { disk, commands: given = 'run' }: DownloadOptions = {},
): Promise<Downloads | undefined> {
  const commands = given === 'run'
  const away = await awayFiles(prepared)
  const uploaded = earlyOutputs(prepared.plan, { commands })
  if (away.length + uploaded.size === 0 && disk === undefined) return undefined
  const ordered = (most?: number) =>
    boundedFlow(prepared, away, { uploaded, commands, ...(most === undefined ? {} : { disk: most }) })
  // The files come for the survey, and again for the run.
  const surveyed = (most: number) =>
    prepared.withRanks &&
    boundedFlow(prepared, away, {
      ...{ disk: most, survey: openFactorings(prepared.plan), digests: false, commands: false },
    })
  const [once, { flow: least, plan }, survey] = [ordered().flow, ordered(0), surveyed(0)?.flow]
  const heaviest = survey && survey.leastDisk > least.leastDisk ? survey : least
  const bounded = (): BoundedRun => {
    const flows = [ordered(disk), surveyed(disk!)].flatMap((one) => one ?? [])
    const [largest] = [...flows].sort((a, b) => b.flow.leastDisk - a.flow.leastDisk)
    if (largest && largest.flow.leastDisk > disk!) throw tooSmall(prepared, largest.plan, largest.flow, disk!)
    const sum = (of: (flow: Flow) => number) => flows.reduce((total, { flow }) => total + of(flow), 0)
    return {
      disk: disk!,
      bytes: sum(({ transfer }) => transfer),
      stages: away.length + uploaded.size === 0 ? 0 : sum(({ stages }) => stages.length),
      unlimited: lateUploads(prepared.plan, uploaded),
    }
  }
  return {
    bytes: once.transfer,
    leastDisk: heaviest.leastDisk,
    neededFor: heaviest.largest < 0 ? 'nothing' : heaviestOf(plan, heaviest).what,
    bytesAtLeast: least.transfer + (survey?.transfer ?? 0),
    ...(survey ? {} : { diskForOnce: once.leastDisk }),
    ...(disk === undefined ? {} : { bounded: bounded() }),
  }
}

const contentsOf = (away: readonly AwayFile[]): ReadonlyMap<number, string> =>
  new Map(away.map(({ file, content }) => [file, content]))

/** What needs the most bytes on the disk at the same time, and the largest file of it. */
function heaviestOf(plan: Plan, flow: Flow): { readonly what: string; readonly file: number | undefined } {
  const { phase, pieces } = flow.stages[flow.largest]!
  const first = pieces.flatMap((piece) => piece.tensors)[0]
  const contents = new Set(pieces.flatMap((piece) => piece.contents.flatMap((content) => flow.contents[content]!)))
  const file = [...contents].sort((a, b) => plan.files[b]!.size - plan.files[a]!.size)[0]
  const other = file === undefined ? 'the output' : plan.files[file]!.name
  if (phase.kind === 'batch' && first) return { what: plan.outputs[first.output]!.tensors[first.tensor]!.name, file }
  if (phase.kind !== 'shared') return { what: phase.kind === 'statistics' ? 'the check of statistics' : other, file }
  const { kind, index } = phase.need
  if (kind === 'analysis')
    return { what: `step ${plan.analyses[index]!.steps[0]!}, which reads whole models first`, file }
  const { tensors } = plan.scopes[index]!
  return { what: tensors[pieces.flatMap(({ scoped = [] }) => scoped)[0]!]!.name, file }
}

function tooSmall({ recipe }: Sources, plan: Plan, flow: Flow, disk: number) {
  const { what, file: largest } = heaviestOf(plan, flow)
  const error = fault(
    'disk-too-small',
    `--disk ${formatSize(disk)} is not enough for ${what}: the files that are needed together have ${formatSize(flow.leastDisk)}`,
    `this recipe needs --disk ${sizeFlag(flow.leastDisk)}`,
  )
  const model = largest === undefined ? undefined : recipe.models.get(plan.models[plan.files[largest]!.model]!.name)
  return model ? placed(recipe, model.at, error) : error
}
