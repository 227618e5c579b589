/** Runs whose inputs are fetched a few files at a time: the order of the work, and who brings the files. */
import { fault } from '../../core/diagnostics.js'
import { formatSize, sizeFlag } from '../../core/sizes.js'
import { withChecks } from '../../execute/commands/checks.js'
import type { Listener } from '../../execute/events.js'
import type { Bindings, Streaming } from '../../execute/types.js'
import { openFactorings } from '../../execute/units/survey.js'
import { flowOf, smallestFlow } from '../../plan/flow/flow.js'
import type { Flow } from '../../plan/flow/types.js'
import type { Plan } from '../../plan/types.js'
import { earlyOutputs } from '../destinations/places.js'
import type { Prepared } from '../plan.js'
import { type AwayFile, awayFiles, type Sources } from './away.js'
import { placed } from './models.js'
import { type OpenSupply, openSupply, sweepSupplies } from './supply.js'

export interface StreamOptions {
  /** Bytes that the disk may take. Absent: files go to the cache. */
  readonly disk?: number
  readonly digests?: boolean
  readonly sha256?: boolean
  readonly resume?: boolean
  /** Whether commands run, which need checkpoints of their own. */
  readonly commands: boolean
  readonly finished: (output: number) => boolean
  /** A survey of these factorings in place of a run. */
  readonly survey?: readonly number[]
  /** Outputs whose files leave this machine when they are complete. Default: none. */
  readonly uploaded?: ReadonlySet<number>
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
  const stream = disk === undefined ? undefined : await openStream(prepared, disk, options)
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
async function openStream(sources: Prepared, disk: number, options: StreamOptions): Promise<OpenStream | undefined> {
  const { bindings } = sources
  const { digests = true, sha256 = false, resume = false, finished, uploaded = new Set(), survey } = options
  const { listen, signal } = options
  const away = await awayFiles(sources)
  if (away.length + uploaded.size === 0) {
    // A survey is followed by a run, which says so.
    const message = '--disk has no effect: all files of the models are on this machine'
    if (!survey) listen({ kind: 'notice', message })
    return undefined
  }
  const { plan } = options.commands ? withChecks(sources.plan, bindings) : sources
  const flow = flowOf(plan, {
    away: contentsOf(away),
    disk,
    digests,
    finished,
    uploaded,
    ...(survey ? { survey } : {}),
  })
  if (flow.leastDisk > disk) throw tooSmall(sources, plan, flow, disk)
  const supply = await openSupply(away, { disk, resume, sha256, listen, signal })
  return {
    ...{ flow, supply, away },
    bindings: { ...bindings, files: bindings.files.map((place, file) => supply.placeOf(file) ?? place) },
  }
}

/** What a run would fetch. */
export interface Downloads {
  /** Bytes of files that are not on this machine. */
  readonly bytes: number
  /** The least `disk` of a run, in bytes. */
  readonly leastDisk: number
  /** Bytes that a run with this `disk` fetches: more if files have to come again. */
  readonly bytesAtLeast: number
  /** The least `disk` with which each file comes once. Absent if files have to come for a survey of ranks first. */
  readonly diskForOnce?: number
}

/**
 * The downloads of a plan: what a run fetches, and the least disk that it needs for it. Undefined if all files are on this machine. Asks
 * nobody: planning has found out what is there. Never throws.
 */
export async function planDownloads(prepared: Prepared): Promise<Downloads | undefined> {
  const away = await awayFiles(prepared)
  if (away.length === 0) return undefined
  const { plan } = prepared
  const options = { away: contentsOf(away), uploaded: earlyOutputs(plan, { commands: false }) }
  const [once, least] = [flowOf(plan, options), smallestFlow(plan, options)]
  // The files come for the survey, and again for the run.
  const survey = prepared.withRanks
    ? smallestFlow(plan, { ...options, survey: openFactorings(plan), digests: false })
    : undefined
  return {
    bytes: once.transfer,
    leastDisk: Math.max(least.leastDisk, survey?.leastDisk ?? 0),
    bytesAtLeast: least.transfer + (survey?.transfer ?? 0),
    ...(survey ? {} : { diskForOnce: once.leastDisk }),
  }
}

const contentsOf = (away: readonly AwayFile[]): ReadonlyMap<number, string> =>
  new Map(away.map(({ file, content }) => [file, content]))

function tooSmall({ recipe }: Sources, plan: Plan, flow: Flow, disk: number) {
  const { phase, pieces } = flow.stages[flow.largest]!
  const first = pieces.flatMap((piece) => piece.tensors)[0]
  const contents = new Set(pieces.flatMap((piece) => piece.contents.flatMap((content) => flow.contents[content]!)))
  const largest = [...contents].sort((a, b) => plan.files[b]!.size - plan.files[a]!.size)[0]
  const what =
    phase.kind === 'batch' && first
      ? plan.outputs[first.output]!.tensors[first.tensor]!.name
      : phase.kind === 'shared'
        ? `what step ${stepOf(plan, phase.need)} does first with whole models`
        : largest === undefined
          ? 'the output'
          : plan.files[largest]!.name
  const error = fault(
    'disk-too-small',
    `--disk ${formatSize(disk)} is not enough for ${what}: the files that are needed together have ${formatSize(flow.leastDisk)}`,
    `this recipe needs --disk ${sizeFlag(flow.leastDisk)}`,
  )
  const model = largest === undefined ? undefined : recipe.models.get(plan.models[plan.files[largest]!.model]!.name)
  return model ? placed(recipe, model.at, error) : error
}

const stepOf = (
  { analyses, scopes }: Plan,
  { kind, index }: { readonly kind: string; readonly index: number },
): string => (kind === 'analysis' ? analyses[index]!.steps[0]! : scopes[index]!.tensors[0]!.expr.step)
