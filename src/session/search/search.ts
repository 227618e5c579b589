/** Searches values of a recipe that make a metric better. */
import path from 'node:path'
import { makeGate } from '../../core/collections/gate.js'
import { fault } from '../../core/diagnostics.js'
import { VERSION } from '../../core/version.js'
import type { RunEvent } from '../../execute/events.js'
import { interrupted, refuseInterrupted } from '../../execute/interrupted.js'
import { evaluateTrial, type KnownDigests, makeTrial } from '../../execute/trials/trial.js'
import type { Point, SearchRecord, Trial } from '../../search/types.js'
import { refuseChanged } from '../../storage/local/inputStates.js'
import { digestOfMade } from '../describe.js'
import type { Prepared } from '../plan.js'
import { executeOptions, settled, withPlaces } from '../run.js'
import { refuseOutput, repeatBest } from './best.js'
import { recipeText } from './bestRecipe.js'
import { searchFiles } from './files.js'
import { identify } from './identity.js'
import { openLog, refuseEarlier } from './log.js'
import { machineOf, type SearchListener, type SearchOptions, type SearchResult } from './options.js'
import { closePlaces, openPlaces, type TrialPlace } from './places.js'
import { scoreOf } from './score.js'
import { mostTrials } from './space.js'
import { parametersOf, trialData } from './trialLines.js'
import { bestOf, doTrials, type Outcome, reasonOf } from './trials.js'
import { openVariants, type Variants } from './variants.js'

/**
 * Looks for values of a recipe that make a metric better: makes and evaluates one checkpoint per trial, records them in `NAME.trials.jsonl`, and ends
 * with the best recipe in `NAME.best.yml`, its checkpoint at the recipe's output, and a page in `NAME.search.html`. The same seed gives
 * the same trials, however many run at the same time.
 *
 * @throws a `Fault` with all errors of the recipe, of its search, and of plans at the ends of its ranges
 * @throws `needs-commands` if `commands` is not set
 * @throws `output-exists` if there are files of an earlier search, without `resume` or `force`
 * @throws `search-changed` with `resume`, if the recipe, its models or its search have changed
 * @throws `search-failures` if too many trials fail
 * @throws `search-output` if the recipe makes more than one checkpoint
 * @throws `interrupted` after an abort by `signal`
 */
export async function search(file: string, options: SearchOptions = {}): Promise<SearchResult> {
  const started = performance.now()
  const { resume = false, force = false, sync = true, listen = () => {}, signal } = options
  const files = searchFiles(path.resolve(file))
  const { set, output } = options
  const given = { ...(set ? { set } : {}), ...(output === undefined ? {} : { output }) }
  const variants = await openVariants(file, given, options.commands === 'run')
  const { recipe } = variants
  const own = withPlaces(variants.own, options.work)
  // That the best recipe can be written is known before the first trial.
  recipeText(
    recipe,
    recipe.search!.dimensions.map((one) => one.own),
  )
  await refuseEarlier(files, { resume, force })
  if (!resume) await refuseOutput(own, force)
  await executeOptions(own, plainOptions(options, listen)).before?.()
  const { plan, bindings } = own
  const places = await openPlaces(bindings.outputs[0]!, plan.outputs[0]!.layout, recipe.search!.parallel)
  try {
    const { identity, known } = await identify(variants, options)
    const log = await openLog(files.trials, identity, recipe.search!.dimensions, { resume, sync })
    try {
      const record = await allTrials({ variants, places, known, log, options, listen })
      await closePlaces(places.splice(0))
      const repeated = await repeatBest({ variants, record, files, options, listen })
      return { ...repeated, seconds: (performance.now() - started) / 1000 }
    } catch (error) {
      throw signal?.aborted ? kept(files.trials) : error
    } finally {
      log.close()
    }
  } finally {
    await closePlaces(places)
  }
}

const kept = (file: string) =>
  fault(
    'interrupted',
    `interrupted: finished trials are kept in ${path.basename(file)}`,
    'run again with --resume',
    130,
  )

/** Options of the runs of trials. */
const plainOptions = (options: SearchOptions, listen: (event: RunEvent) => void) => ({
  ...machineOf(options),
  ...({ commands: 'run', sync: false, digests: 'fast', listen } as const),
})

interface Search {
  readonly variants: Variants
  readonly places: readonly TrialPlace[]
  readonly known: KnownDigests
  readonly log: Awaited<ReturnType<typeof openLog>>
  readonly options: SearchOptions
  readonly listen: SearchListener
}

async function allTrials(work: Search): Promise<SearchRecord> {
  const { variants, places, log, listen, options } = work
  const { recipe } = variants
  const { dimensions, objective, method, seed, parallel } = recipe.search!
  const asked = mostTrials(recipe.search!)
  const parameters = dimensions.map((one) => one.path)
  const head = { recipe: recipe.file, method, parameters, objective, trials: asked, parallel }
  listen({ kind: 'search', ...head, done: log.earlier.size })
  /** What the last event of a trial says besides the trial. */
  const counts = new Map<number, { readonly computed: number; readonly tensors: number }>()
  const making = makeGate(1)
  const doTrial = (index: number, point: Point, place: TrialPlace, signal: AbortSignal): Promise<Outcome> =>
    oneTrial(work, { index, point, place, signal, making, counted: (count) => counts.set(index, count) })
  const record = (trial: Trial, all: readonly Trial[]): void => {
    log.add(trial)
    const best = bestOf(all)
    listen({
      kind: 'trial',
      trial: trialData(trial, dimensions),
      done: all.length,
      ...(best ? { best: trialData(best, dimensions) } : {}),
      ...counts.get(trial.index),
    })
  }
  const { earlier } = log
  const { trials, end } = await doTrials({
    search: recipe.search!,
    most: asked,
    places,
    earlier,
    doTrial,
    record,
    signal: options.signal,
  })
  const best = bestOf(trials)
  const start = dimensions.map((one) => one.own)
  return {
    ...{ recipe: recipe.file, dimensions: dimensions.map(({ path, range }) => ({ path, range })), start },
    ...{ objective, method, seed, asked, trials, end, version: VERSION },
    ...(best ? { best: best.index } : {}),
  }
}

interface OneTrial {
  readonly index: number
  readonly point: Point
  readonly place: TrialPlace
  readonly signal: AbortSignal
  /** One checkpoint is made at a time, with all threads. */
  readonly making: ReturnType<typeof makeGate>
  readonly counted: (count: { readonly computed: number; readonly tensors: number }) => void
}

async function oneTrial(work: Search, { index, point, place, signal, making, counted }: OneTrial): Promise<Outcome> {
  const { variants, listen } = work
  const { dimensions, objective } = variants.recipe.search!
  const parameters = parametersOf(point, dimensions)
  const say = (state: 'making' | 'evaluating') =>
    listen({ kind: 'trial-state', trial: index, place: place.index, state, parameters })
  let planning = true
  let digest: string | undefined
  let seconds = 0
  const timed = async <T>(task: () => Promise<T>): Promise<T> => {
    const started = performance.now()
    try {
      return await task()
    } finally {
      seconds += (performance.now() - started) / 1000
    }
  }
  try {
    const { made, prepared, options } = await making(() =>
      timed(async () => {
        refuseInterrupted(signal)
        say('making')
        const prepared = await variants.plan(point)
        planning = false
        return make(work, prepared, place, signal)
      }),
    )
    const { plan } = prepared
    digest = digestOfMade(plan.outputs[0]!, made.executed.outputs[0]!, made.executed.kernels) ?? undefined
    counted({ computed: made.computed, tensors: plan.outputs[0]!.tensors.length })
    say('evaluating')
    const env = { TERGE_PLACE: String(place.index), TERGE_TRIAL: String(index) }
    const values = await timed(() => evaluateTrial(plan, made, options, env))
    const outcome = { values, seconds, ...(digest === undefined ? {} : { digest }) }
    const score = scoreOf(objective, values)
    return typeof score === 'string'
      ? { state: 'failed', ...outcome, reason: score }
      : { state: 'done', score, ...outcome }
  } catch (error) {
    if (signal.aborted) throw interrupted()
    const reason = reasonOf(error, planning)
    if (reason === undefined) throw error
    return { state: 'failed', values: {}, seconds, reason, ...(digest === undefined ? {} : { digest }) }
  }
}

/** Makes the checkpoint of a trial in its place. What is the same as in the trial before is kept. */
async function make({ known, options }: Search, planned: Prepared, place: TrialPlace, signal: AbortSignal) {
  const quiet = { ...plainOptions(options, () => {}), signal }
  const prepared = withPlaces(await settled(planned, quiet), options.work)
  const run = { ...executeOptions(prepared, quiet), records: place.records }
  const made = await makeTrial(prepared.plan, prepared.bindings, place.staging, run, known)
  place.records = made.records
  await refuseChanged(prepared.bindings.inputs)
  return { made, prepared, options: run }
}
