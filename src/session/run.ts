/** Runs plans: writes outputs and their lineages. */

import { availableParallelism } from 'node:os'
import path from 'node:path'
import { type Diagnostic, fault } from '../core/diagnostics.js'
import { defaultMemory } from '../execute/budget.js'
import type { Listener } from '../execute/events.js'
import { withPace } from '../execute/paced.js'
import { startAhead as startWorkers } from '../execute/pools/keptWorkers.js'
import { refuseNonFinite, remarkDiagnostics, remarksOf } from '../execute/remarks.js'
import { executePlan } from '../execute/run.js'
import type { Description, Executed, ExecuteOptions } from '../execute/types.js'
import type { UnitRecord } from '../execute/units/records.js'
import { openFactorings, surveyRanks } from '../execute/units/survey.js'
import { buildLineage } from '../lineage/build.js'
import type { Digest, Lineage } from '../lineage/types.js'
import type { Plan } from '../plan/types.js'
import { refuseChanged } from '../storage/local/inputStates.js'
import type { Published } from '../storage/remote/upload.js'
import { refuseCommands } from './checks/commands.js'
import { describedAs, describeOutputs } from './describe.js'
import { type Received, withDeliveries } from './destinations/deliveries.js'
import type { HubHeads } from './destinations/open.js'
import { addressOf, earlyOutputs, lateUploads, shownLineage, shownPlace, withWork } from './destinations/places.js'
import { modelsHere, withoutAway } from './opened/away.js'
import { checkSums, fetchModels } from './opened/models.js'
import { type OpenStream, withStream } from './opened/streaming.js'
import { refusePermutationFiles } from './permutationFiles.js'
import type { Prepared } from './plan.js'
import { findFinished, lineagePathOf, refuseOthers, settleOutputs } from './proof/finished.js'
import { checkLocked } from './proof/locking.js'
import { checkSignedWeights, refuseUnsigned } from './proof/signedInputs.js'
import { dropSummaries, type PlannedPath, plannedPaths, refuseSummaries, writeSummaries } from './summaries.js'
import { dropChecksums, refuseChecksums, withChecksums, writeChecksums } from './sums/checksums.js'
import { type DigestOptions, type Digests, digestsOf } from './sums/digests.js'
import { openRunSums, publishedFiles, type RunSums } from './sums/runSums.js'

/** How to run a plan. */
export interface RunOptions extends DigestOptions {
  /** Default: one per CPU core. */
  readonly threads?: number
  /** Limit of anonymous memory in bytes, for all threads together. Default: 1 GB plus the plan itself. */
  readonly memory?: number
  /**
   * Bytes of disk for models that are not on this machine. Their files are fetched when they are needed, and removed after their last
   * use. Default: all of them are downloaded into the cache first, and stay there.
   */
  readonly disk?: number
  /** Reuse the work of an interrupted run, after reading it again. Default: false. */
  readonly resume?: boolean
  /** The folder in which outputs for the hub or a store are made. Default: `work` in terge's cache. */
  readonly work?: string
  /** Replace existing outputs. Default: false. */
  readonly force?: boolean
  /** Default true: calls fsync before the output gets its name. */
  readonly sync?: boolean
  /** Fail on results that are NaN or infinite although their inputs are finite. */
  readonly strict?: boolean
  /** Write `SHA256SUMS` into output folders, and `NAME.sha256` next to single files. Default: what the recipe says. */
  readonly checksums?: boolean
  /** `evaluate` commands: fail (default), run them, or skip them. */
  readonly commands?: 'refuse' | 'run' | 'skip'
  /** Called with events: the start, progress, warnings, finished outputs, the end. */
  readonly listen?: Listener
  /** Ends the work early. The promise then rejects with the error `interrupted`. */
  readonly signal?: AbortSignal
}

/** The result of a run. */
export interface RunResult {
  /** By `Plan.outputs`. */
  readonly outputs: readonly {
    /** Absolute path, or the address of an output that was uploaded. */
    readonly path: string
    /** Absolute path of the lineage's file, or its address. */
    readonly lineagePath: string
    /** Where every tensor came from, with digests. */
    readonly lineage: Lineage
    /** In bytes. Size of the files with tensors; 0 for a checkpoint that was only evaluated. */
    readonly bytes: number
    /** The commit of an output on the hub. */
    readonly revision?: string
  }[]
  /** The files that summarize paths, next to their points. */
  readonly summaries: readonly string[]
  /** Warnings about the results. */
  readonly warnings: readonly Diagnostic[]
  /** How long the run took. */
  readonly seconds: number
}

/** The warnings of an earlier run about an output that it finished. */
const remarksIn = (output: Plan['outputs'][number], { tensors }: Lineage): Diagnostic[] =>
  remarkDiagnostics(
    output,
    output.tensors.map(({ placements: [first] }) => {
      const { non_finite: nonFinite = 0, notes = [] } = tensors[first!.name]!
      return { figures: remarksOf({ nonFinite, notes }) ?? {} }
    }),
  )

/**
 * Starts worker threads and compiles the kernels before the plan is known, for a program that will call `run` soon
 * and has other work to do first. Unused threads do not keep the process alive. Never throws.
 */
export const startAhead = (threads: number): void => startWorkers(threads)

/**
 * Executes a plan and writes outputs and lineages. An output gets its name only when it is complete. A failed run leaves no
 * partial output. The exit code of the `Fault` is 2 before the execution, 1 during it, and 130 after an abort.
 *
 * @throws `needs-commands` if the recipe has `evaluate` commands and `commands` is not set
 * @throws `output-exists` if an output exists, without `force` or `resume`
 * @throws `output-in-use` if another run writes the same output
 * @throws `disk-too-small` if `disk` is not enough for the files that are needed together
 * @throws `memory-too-small` if `memory` is not enough for one thread
 * @throws `input-changed` if a file of an input changes during the run
 * @throws `write-failed` or `disk-full` if an output cannot be written
 * @throws `evaluate-failed` or `evaluate-timeout` if a command fails or takes too long
 * @throws `alignment-check-failed` if the `check` of an alignment finds that the model computes something else
 * @throws `not-finite` with `strict`, if a result is NaN or infinite although its inputs are finite
 * @throws `interrupted` after an abort by `signal`
 */
export const run = (prepared: Prepared, options: RunOptions = {}): Promise<RunResult> => runWith(prepared, options, {})

/** What other runs have uploaded. */
export interface ReceivedOutputs extends Received {
  /** Indexes of the outputs. */
  readonly outputs: ReadonlySet<number>
  /** `sha256:…` of a file. */
  readonly sumOf: (output: number, file: number) => string | undefined
}

/** How to run a plan without threads, or with what other runs have done. */
export type RunInternals = Pick<
  ExecuteOptions,
  'openPool' | 'rangeBytes' | 'records' | 'earlier' | 'known' | 'left' | 'staged'
> & {
  /** In place of downloads: called when the outputs' paths are claimed. */
  readonly before?: (stream: OpenStream | undefined) => Promise<void>
  /** Called with all records of the run. */
  readonly recorded?: (records: Iterable<UnitRecord>) => void
  /** What other runs have uploaded, of outputs whose files are not here. */
  readonly received?: ReceivedOutputs | undefined
  /** `Plan.files` that the run reads. Default: all. */
  readonly reads?: ReadonlySet<number>
  /** The SHA-256 of inputs that other runs have computed, from files that are still the same. */
  readonly knownSums?: ReadonlyMap<number, Digest>
}

export const runWith = (prepared: Prepared, options: RunOptions, internals: RunInternals): Promise<RunResult> =>
  withPace(options.listen, (listen) => runPaced(prepared, { ...options, ...(listen ? { listen } : {}) }, internals))

/** The plan with ranks by energy, which the tensors decide. Reads the tensors once. Any other plan is the same. */
export const settled = async (prepared: Prepared, options: RunOptions): Promise<Prepared> =>
  prepared.withRanks ? prepared.withRanks(await surveyed(prepared, options)) : prepared

export function surveyed(prepared: Prepared, options: RunOptions): ReturnType<typeof surveyRanks> {
  const { plan, bindings } = prepared
  const { listen = () => {}, ...rest } = options
  const stream = { ...rest, listen, commands: false, finished: () => false, digests: 'none' } as const
  return withStream(prepared, { ...stream, survey: openFactorings(plan) }, (stream) =>
    surveyRanks(plan, stream?.bindings ?? bindings, executeOptions(prepared, options, { stream })),
  )
}

async function runPaced(given: Prepared, options: RunOptions, internals: RunInternals): Promise<RunResult> {
  const started = performance.now()
  if ((options.commands ?? 'refuse') === 'refuse') refuseCommands(given.recipe)
  const prepared = withPlaces(withChecksums(await settled(given, options), options.checksums ?? false), options.work)
  const { plan, bindings, recipe } = prepared
  const digests = digestsOf(options)
  refuseDigests(prepared, digests)
  const warnings: Diagnostic[] = []
  const listen: Listener = (event) => {
    if (event.kind === 'warning') warnings.push(event.diagnostic)
    options.listen?.(event)
  }
  const notice = (message: string): void => listen({ kind: 'notice', message })
  for (const message of notesOf(prepared, options)) notice(message)
  await settleOutputs(plan, bindings)
  const heads: HubHeads = new Map()
  const paths = plannedPaths(plan, bindings.outputs, recipe, { heads, notice, signal: options.signal })
  const { force = false, resume = false } = options
  await refuseSummaries(paths, plan, { force, resume })
  const lineages = resume ? await finishedBefore(prepared, digests, { ...options, listen }) : new Map<number, Lineage>()
  await refuseChecksums(plan, bindings.outputs, { force, resume })
  await refusePermutationFiles(plan, bindings.outputs, (index) => lineages.has(index), { force, resume })
  let published: ReadonlyMap<number, Published> = new Map()
  if (lineages.size < plan.outputs.length) {
    const run = { prepared, options: { ...options, listen }, internals, digests, paths, heads, lineages }
    published = await executeOutputs(run, new Set(lineages.keys()))
  }
  const summaries = await writeSummaries(paths, plan, bindings, lineages, options.sync ?? true)
  await writeChecksums(plan, bindings, lineages, { sync: options.sync ?? true, signal: options.signal })
  const seconds = (performance.now() - started) / 1000
  listen({ kind: 'end', seconds })
  const outputs = resultOutputs(prepared, lineages, published)
  return { outputs, summaries, warnings, seconds }
}

/** Error: `contradiction`, for what needs digests that the run does not compute. */
export function refuseDigests({ plan, lock, signed }: Prepared, digests: Digests): void {
  if (digests !== 'full' && plan.outputs.some(({ checksums }) => checksums))
    throw fault('contradiction', `checksums need digests that are full, not ${digests}`, 'remove --digests')
  if (signed && digests !== 'full')
    throw fault('contradiction', `signatures of models need digests that are full, not ${digests}`, 'remove --digests')
  if (lock && digests === 'none')
    throw fault(
      'contradiction',
      '--locked compares digests and cannot be used with --digests none',
      'remove --digests none',
    )
}

/** What executing the outputs of a run needs. */
interface Execution {
  readonly prepared: Prepared
  readonly options: RunOptions & { readonly listen: Listener }
  readonly internals: RunInternals
  readonly digests: Digests
  readonly paths: readonly PlannedPath[]
  readonly heads: HubHeads
  /** By output. Gets those that are made. */
  readonly lineages: Map<number, Lineage>
}

/** Makes the outputs that are not `done`, with their lineages, and publishes them. */
async function executeOutputs(run: Execution, done: ReadonlySet<number>): Promise<ReadonlyMap<number, Published>> {
  const { prepared, options, internals, digests, heads, lineages } = run
  const { plan, bindings } = prepared
  const { listen, signal, threads = availableParallelism() } = options
  const commands = options.commands === 'run'
  const finished = (index: number): boolean => done.has(index)
  const { received, reads, before, knownSums, recorded: _, ...execute } = internals
  const uploaded = received?.outputs ?? earlyOutputs(plan, { digests, commands })
  if (options.disk !== undefined && !internals.staged)
    for (const message of lateUploads(plan, uploaded)) listen({ kind: 'notice', message })
  const leaving = received !== undefined
  const streamed = { ...options, digests, commands, finished, uploaded, leaving, reads }
  return withStream(prepared, streamed, async (stream) => {
    const known = { inputs: knownSums, outputs: received?.sumOf }
    const sums = digests === 'full' ? openRunSums(prepared, { threads, listen, signal, stream, known }) : undefined
    const execution = {
      ...executeOptions(prepared, options, { stream, sums }),
      ...{ ...execute, finished, ...(sums ? { ends: sums.ends } : {}) },
      ...(before ? { before: () => before(stream) } : {}),
    }
    const places = stream?.bindings ?? bindings
    const early = stream ? uploaded : new Set<number>()
    try {
      const delivered = { early, received, heads, sums: sums?.uploads }
      const published = await withDeliveries(plan, places, execution, delivered, (options) =>
        executePlan(plan, places, options, (executed) => describeAll(run, executed, sums)),
      )
      await sums?.remember(publishedFiles(plan, bindings, lineages, done))
      return published
    } finally {
      await sums?.close()
    }
  })
}

/** The descriptions of outputs that are complete except for their lineages. */
async function describeAll(
  { prepared, options, internals, digests, paths, lineages }: Execution,
  executed: Executed,
  sums: RunSums | undefined,
): Promise<Description[]> {
  const { plan, bindings, recipe, lock } = prepared
  internals.recorded?.(executed.records())
  const made = await describeOutputs(prepared, executed, { digests: digests !== 'none', sums })
  refuseUnsigned(prepared, made[0]?.read.sums ?? [], 1)
  if (lock) for (const { models } of made.map(buildLineage)) checkLocked(lock, recipe, models)
  const outputs = made.map(({ output }) => output)
  await dropSummaries(paths, outputs, options.force ?? false)
  await dropChecksums(plan, bindings.outputs, outputs)
  return made.map((input) => {
    lineages.set(input.output, buildLineage(input))
    const { path: written } = plan.outputs[input.output]!
    return describedAs(input, addressOf(plan.outputs[input.output]!)?.name ?? path.basename(written))
  })
}

/** For a recipe with a search. */
const OWN_VALUES =
  'the recipe has a search: this run uses the values that stand in the recipe; terge search varies them'

/** What of its options a run does not do. */
const notesOf = ({ plan, recipe }: Prepared, { commands, work }: RunOptions): string[] => [
  ...(recipe.search ? [OWN_VALUES] : []),
  ...(commands === 'skip' ? (plan.checks ?? []) : []).map(
    ({ step }) => `${step} is not checked: this run skips commands`,
  ),
  ...(work === undefined || plan.outputs.some(addressOf)
    ? []
    : ['--work has no effect: all outputs are on this machine']),
]

/** The lineages of outputs that an earlier run finished. Error: `output-exists` for others that exist, without `force`. */
async function finishedBefore(
  prepared: Prepared,
  digests: Digests,
  options: RunOptions & { readonly listen: Listener },
): Promise<Map<number, Lineage>> {
  const { plan, bindings, recipe, models, lock } = prepared
  const { threads = availableParallelism(), commands, listen } = options
  const lineages = new Map<number, Lineage>()
  const { signal } = options
  const checking = { plan, bindings, recipe, models, threads, evaluated: commands === 'run', digests, listen, signal }
  const findings = await findFinished(checking)
  if (!options.force) refuseOthers(bindings, findings)
  for (const [index, finding] of findings) if ('lineage' in finding) lineages.set(index, finding.lineage)
  if (lineages.size > 0) await refuseChanged(bindings.inputs.filter(({ state }) => state !== undefined))
  const known = [...lineages].flatMap(([index, lineage]) => remarksIn(plan.outputs[index]!, lineage))
  if (options.strict) refuseNonFinite(known)
  for (const diagnostic of known) listen({ kind: 'warning', diagnostic })
  for (const { models } of lineages.values()) {
    if (lock) checkLocked(lock, recipe, models)
    const files = plan.models.flatMap(({ name }, model) =>
      models[name]!.files.slice(0, plan.files.filter((file) => file.model === model).length),
    )
    refuseUnsigned(
      prepared,
      files.map(({ sha256 }) => (sha256 === undefined ? undefined : { sha256 })),
      1,
    )
  }
  return lineages
}

function resultOutputs(
  { plan, bindings }: Prepared,
  lineages: ReadonlyMap<number, Lineage>,
  published: ReadonlyMap<number, Published>,
): RunResult['outputs'] {
  return plan.outputs.map((output, index) => {
    const { revision } = published.get(index) ?? {}
    return {
      path: shownPlace(output, bindings.outputs[index]!),
      lineagePath: shownLineage(output, lineagePathOf(plan, bindings, index)),
      lineage: lineages.get(index)!,
      bytes: output.keep ? output.files.reduce((sum, file) => sum + file.size, 0) : 0,
      ...(revision === undefined ? {} : { revision }),
    }
  })
}

/** The plan with the local paths of outputs that are uploaded. */
export const withPlaces = (prepared: Prepared, work: string | undefined): Prepared => ({
  ...prepared,
  bindings: { ...prepared.bindings, outputs: withWork(prepared.plan, prepared.bindings.outputs, work) },
})

export function executeOptions(
  prepared: Prepared,
  options: RunOptions,
  { stream, sums }: { readonly stream?: OpenStream | undefined; readonly sums?: RunSums | undefined } = {},
): ExecuteOptions {
  const { plan, recipe, models } = prepared
  const { threads = availableParallelism(), listen = () => {}, commands, signal } = options
  const away = new Set(stream?.away.map(({ file }) => file))
  return {
    threads,
    memory: options.memory ?? defaultMemory(plan),
    resume: options.resume ?? false,
    force: options.force ?? false,
    sync: options.sync ?? true,
    digests: digestsOf(options) !== 'none',
    strict: options.strict ?? false,
    async before() {
      await fetchModels(stream ? withoutAway(models, stream.away) : models, { listen, signal }, recipe)
      await checkSums(recipe, stream ? modelsHere(models, stream.away) : models, { listen, signal, sums: sums?.files })
      const hashing = { sums: sums?.files, threads, listen, signal }
      await checkSignedWeights(prepared, (file) => !away.has(file), hashing)
    },
    ...(stream ? { streaming: stream } : {}),
    listen,
    ...(commands === 'run' ? { commands: recipe.folder } : {}),
    ...(signal ? { signal } : {}),
  }
}
