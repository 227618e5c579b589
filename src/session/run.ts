/** Runs plans: writes outputs and their lineages. */

import { availableParallelism } from 'node:os'
import path from 'node:path'
import { type Diagnostic, Fault, fault } from '../core/diagnostics.js'
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
import type { Lineage } from '../lineage/types.js'
import type { Plan } from '../plan/types.js'
import type { Recipe } from '../recipe/types.js'
import { kindOf } from '../steps/index.js'
import { refuseChanged } from '../storage/local/inputStates.js'
import type { Published } from '../storage/remote/upload.js'
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
import { dropSummaries, plannedPaths, refuseSummaries, writeSummaries } from './summaries.js'

/** How to run a plan. */
export interface RunOptions {
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
  /** Compute the digests of inputs and outputs for the lineage. Default: true. */
  readonly digests?: boolean
  /** Fail on results that are NaN or infinite although their inputs are finite. */
  readonly strict?: boolean
  /** Also compute the SHA-256 of whole files, as the hub publishes it. */
  readonly sha256?: boolean
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
}

export const runWith = (prepared: Prepared, options: RunOptions, internals: RunInternals): Promise<RunResult> =>
  withPace(options.listen, (listen) => runPaced(prepared, { ...options, ...(listen ? { listen } : {}) }, internals))

/** The plan with ranks by energy, which the tensors decide. Reads the tensors once. Any other plan is the same. */
export const settled = async (prepared: Prepared, options: RunOptions): Promise<Prepared> =>
  prepared.withRanks ? prepared.withRanks(await surveyed(prepared, options)) : prepared

export function surveyed(prepared: Prepared, options: RunOptions): ReturnType<typeof surveyRanks> {
  const { plan, bindings } = prepared
  const { listen = () => {}, ...rest } = options
  const stream = { ...rest, listen, commands: false, finished: () => false, digests: false, sha256: false }
  return withStream(prepared, { ...stream, survey: openFactorings(plan) }, (stream) =>
    surveyRanks(plan, stream?.bindings ?? bindings, executeOptions(prepared, options, stream)),
  )
}

async function runPaced(given: Prepared, options: RunOptions, internals: RunInternals): Promise<RunResult> {
  const started = performance.now()
  if ((options.commands ?? 'refuse') === 'refuse') refuseCommands(given.recipe)
  const prepared = withPlaces(await settled(given, options), options.work)
  const { plan, bindings, recipe, lock } = prepared
  const { commands = 'refuse' } = options
  const warnings: Diagnostic[] = []
  const listen: Listener = (event) => {
    if (event.kind === 'warning') warnings.push(event.diagnostic)
    options.listen?.(event)
  }
  if (lock && options.digests === false)
    throw fault(
      'contradiction',
      '--locked compares digests and cannot be used with --no-digests',
      'remove --no-digests',
    )
  const notice = (message: string): void => listen({ kind: 'notice', message })
  for (const message of notesOf(plan, options)) notice(message)
  await settleOutputs(plan, bindings)
  const heads: HubHeads = new Map()
  const paths = plannedPaths(plan, bindings.outputs, recipe, { heads, notice, signal: options.signal })
  const { force = false, resume = false } = options
  await refuseSummaries(paths, plan, { force, resume })
  const lineages = options.resume ? await finishedBefore(prepared, { ...options, listen }) : new Map<number, Lineage>()
  await refusePermutationFiles(plan, bindings.outputs, (index) => lineages.has(index), { force, resume })
  let published: ReadonlyMap<number, Published> = new Map()
  if (lineages.size < plan.outputs.length) {
    const done = new Set(lineages.keys())
    const finished = (index: number): boolean => done.has(index)
    const { received, reads, before, ...execute } = internals
    const uploaded = received?.outputs ?? earlyOutputs(plan, { ...options, commands: commands === 'run' })
    if (options.disk !== undefined) for (const message of lateUploads(plan, uploaded)) notice(message)
    const leaving = received !== undefined
    const streamed = { ...options, commands: commands === 'run', finished, uploaded, leaving, reads, listen }
    published = await withStream(prepared, streamed, async (stream) => {
      const describe = async (executed: Executed): Promise<Description[]> => {
        internals.recorded?.(executed.records())
        const { digests = true, sha256 = false } = options
        const sums = { sumOf: stream?.supply.sumOf, madeSumOf: received?.sumOf }
        const made = await describeOutputs(prepared, executed, { digests, sha256, ...sums })
        if (lock) for (const { models } of made.map(buildLineage)) checkLocked(lock, recipe, models)
        await dropSummaries(
          paths,
          made.map(({ output }) => output),
          force,
        )
        return made.map((input) => {
          lineages.set(input.output, buildLineage(input))
          const { path: written } = plan.outputs[input.output]!
          return describedAs(input, addressOf(plan.outputs[input.output]!)?.name ?? path.basename(written))
        })
      }
      const execution = {
        ...executeOptions(prepared, { ...options, listen }, stream),
        ...{ ...execute, finished },
        ...(before ? { before: () => before(stream) } : {}),
      }
      const places = stream?.bindings ?? bindings
      const early = stream ? uploaded : new Set<number>()
      return withDeliveries(plan, places, execution, early, received, heads, (options) =>
        executePlan(plan, places, options, describe),
      )
    })
  }
  const summaries = await writeSummaries(paths, plan, bindings, lineages, options.sync ?? true)
  const seconds = (performance.now() - started) / 1000
  listen({ kind: 'end', seconds })
  const outputs = resultOutputs(prepared, lineages, published)
  return { outputs, summaries, warnings, seconds }
}

/** What of its options a run does not do. */
const notesOf = (plan: Plan, { commands, work }: RunOptions): string[] => [
  ...(commands === 'skip' ? (plan.checks ?? []) : []).map(
    ({ step }) => `${step} is not checked: this run skips commands`,
  ),
  ...(work === undefined || plan.outputs.some(addressOf)
    ? []
    : ['--work has no effect: all outputs are on this machine']),
]

/** The lineages of outputs that an earlier run finished. Error: `output-exists` for others that exist, without `force`. */
async function finishedBefore(
  { plan, bindings, recipe, models, lock }: Prepared,
  options: RunOptions & { readonly listen: Listener },
): Promise<Map<number, Lineage>> {
  const { threads = availableParallelism(), commands, listen } = options
  const lineages = new Map<number, Lineage>()
  const { sha256 = false, signal } = options
  const checking = { plan, bindings, models, threads, evaluated: commands === 'run', sha256, listen, signal }
  const findings = await findFinished(checking)
  if (!options.force) refuseOthers(bindings, findings)
  for (const [index, finding] of findings) if ('lineage' in finding) lineages.set(index, finding.lineage)
  if (lineages.size > 0) await refuseChanged(bindings.inputs.filter(({ state }) => state !== undefined))
  const known = [...lineages].flatMap(([index, lineage]) => remarksIn(plan.outputs[index]!, lineage))
  if (options.strict) refuseNonFinite(known)
  for (const diagnostic of known) listen({ kind: 'warning', diagnostic })
  if (lock) for (const { models } of lineages.values()) checkLocked(lock, recipe, models)
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
const withPlaces = (prepared: Prepared, work: string | undefined): Prepared => ({
  ...prepared,
  bindings: { ...prepared.bindings, outputs: withWork(prepared.plan, prepared.bindings.outputs, work) },
})

export function executeOptions(
  { plan, recipe, models }: Prepared,
  options: RunOptions,
  stream?: OpenStream,
): ExecuteOptions {
  const { threads = availableParallelism(), listen = () => {}, commands, signal } = options
  return {
    threads,
    memory: options.memory ?? defaultMemory(plan),
    resume: options.resume ?? false,
    force: options.force ?? false,
    sync: options.sync ?? true,
    digests: options.digests ?? true,
    strict: options.strict ?? false,
    async before() {
      await fetchModels(stream ? withoutAway(models, stream.away) : models, { listen, signal }, recipe)
      await checkSums(recipe, stream ? modelsHere(models, stream.away) : models, { listen, signal })
    },
    ...(stream ? { streaming: stream } : {}),
    listen,
    ...(commands === 'run' ? { commands: recipe.folder } : {}),
    ...(signal ? { signal } : {}),
  }
}

/** The user must agree to commands, because the recipe can be from someone else. Error: `needs-commands`. */
export function refuseCommands(recipe: Recipe): void {
  const written = [
    ...recipe.outputs.map(({ evaluate }) => evaluate),
    ...recipe.steps.flatMap((step) => [kindOf(step).evaluate?.(step), kindOf(step).check?.(step)?.evaluate]),
  ]
  const places = new Map(
    written.flatMap((evaluate) => (evaluate ? [[JSON.stringify(evaluate.at), evaluate] as const] : [])),
  )
  if (places.size === 0) return
  throw new Fault(
    [...places.values()].map(({ command, env = [], at }) => ({
      severity: 'error',
      code: 'needs-commands',
      message: `the recipe runs a command: ${command.join(' ')}${env.length > 0 ? ` (with access to ${env.join(', ')})` : ''}`,
      place: recipe.placeOf(at, 'key'),
      hint: 'check what the command does, then give --allow-commands',
    })),
  )
}
