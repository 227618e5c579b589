/** Makes and evaluates checkpoints in batches. What a batch has depends only on finished batches, so the trials do not depend on timing. */
import { Fault, fault } from '../../core/diagnostics.js'
import { interrupted } from '../../execute/interrupted.js'
import type { Search } from '../../recipe/search/types.js'
import type { Point, SearchRecord, Trial } from '../../search/types.js'
import type { TrialPlace } from './places.js'
import { samplerOf, settingsOf } from './space.js'

/** What became of a point. */
export type Outcome = Pick<Trial, 'state' | 'score' | 'values' | 'seconds' | 'digest' | 'reason'>

export interface TrialWork {
  readonly search: Search
  /** The largest number of trials. */
  readonly most: number
  readonly places: readonly TrialPlace[]
  /** Trials of an earlier run, by index. */
  readonly earlier: ReadonlyMap<number, Trial>
  /** Makes and evaluates one. Rejects only if the search cannot go on. */
  readonly doTrial: (index: number, point: Point, place: TrialPlace, signal: AbortSignal) => Promise<Outcome>
  /** Called with each new trial, in the order in which they end. */
  readonly record: (trial: Trial, all: readonly Trial[]) => void
  readonly signal: AbortSignal | undefined
}

/** All trials by index, and why there are no more. Errors: `search-failures`, `search-changed`, `interrupted`, those of trials. */
export async function doTrials(work: TrialWork): Promise<{ trials: readonly Trial[]; end: SearchRecord['end'] }> {
  const { search, most, earlier } = work
  const [sampler, settings] = [samplerOf(search), settingsOf(search)]
  const trials: Trial[] = []
  for (let batch = 0; ; batch++) {
    if (trials.length >= most) return { trials, end: search.trials === undefined ? 'points' : 'trials' }
    const points = sampler.propose(search.dimensions, settings, batch, trials).slice(0, most - trials.length)
    if (points.length === 0) return { trials, end: 'points' }
    const first = trials.length
    const known = points.map((point, at) => same(earlier.get(first + at), batch, point))
    trials.push(...(await doBatch(work, { batch, first, points, known, before: trials })))
    if (search.patience !== undefined && sinceBest(trials) >= search.patience) return { trials, end: 'patience' }
  }
}

/** A recorded trial must be the one that this search proposes. */
function same(recorded: Trial | undefined, batch: number, point: Point): Trial | undefined {
  if (!recorded) return undefined
  if (recorded.batch === batch && recorded.point.every((value, at) => value === point[at])) return recorded
  throw fault(
    'search-changed',
    `trial ${recorded.index} was of other values than this search proposes: its method or its number of trials has changed`,
    'use the version of terge and the settings of then, or begin again with --force',
  )
}

interface Batch {
  readonly batch: number
  /** The index of its first trial. */
  readonly first: number
  readonly points: readonly Point[]
  readonly known: readonly (Trial | undefined)[]
  readonly before: readonly Trial[]
}

async function doBatch(work: TrialWork, { batch, first, points, known, before }: Batch): Promise<readonly Trial[]> {
  const done: (Trial | undefined)[] = [...known]
  const waiting = [...points.keys()].filter((at) => known[at] === undefined).values()
  const stop = new AbortController()
  const signal = work.signal ? AbortSignal.any([work.signal, stop.signal]) : stop.signal
  const finishedSoFar = (): Trial[] => [...before, ...done.filter((trial) => trial !== undefined)]
  /** Those that no unfinished one is before: a decision about them is the same whatever runs at the same time. */
  const inOrder = (): Trial[] => [
    ...before,
    ...((done.includes(undefined) ? done.slice(0, done.indexOf(undefined)) : done) as Trial[]),
  ]
  refuseFailures(inOrder(), first)
  const worker = async (place: TrialPlace): Promise<void> => {
    for (const at of waiting) {
      if (signal.aborted) throw interrupted()
      const outcome = await work.doTrial(first + at, points[at]!, place, signal)
      const trial: Trial = { index: first + at, batch, point: points[at]!, ...outcome }
      done[at] = trial
      work.record(trial, finishedSoFar())
      refuseFailures(inOrder(), first)
    }
  }
  let failed: { readonly error: unknown } | undefined
  const all = work.places.map((place) =>
    worker(place).catch((error: unknown) => {
      failed ??= { error }
      stop.abort()
    }),
  )
  await Promise.all(all)
  if (failed) throw failed.error
  return done as Trial[]
}

/** How many trials came after the best one. Before the first success: none, because the rule for failures applies. */
function sinceBest(trials: readonly Trial[]): number {
  const best = bestOf(trials)
  return best === undefined ? 0 : trials.length - 1 - best.index
}

/** The first trial with the greatest score. */
export function bestOf(trials: readonly Trial[]): Trial | undefined {
  let best: Trial | undefined
  for (const trial of trials)
    if (trial.score !== undefined && (best?.score === undefined || trial.score > best.score)) best = trial
  return best
}

/** The first trials that must not all fail, and the number of trials from which at most half may fail. */
const [FIRST, LEAST] = [5, 10]

/** Error: `search-failures`, if the command seems to be wrong and not the values. `from`: those before were counted already. */
function refuseFailures(trials: readonly Trial[], from: number): void {
  let failed = 0
  for (const [at, { state, reason }] of trials.entries()) {
    if (state === 'failed') failed++
    const count = at + 1
    const tooMany = (count === FIRST && failed === FIRST) || (count >= LEAST && failed * 2 > count)
    if (at >= from && tooMany)
      throw fault(
        'search-failures',
        `${failed} of ${count} trials failed, the last one with: ${reason ?? 'another error'}`,
        'correct the command or the ranges, then begin again with --force',
        1,
      )
  }
}

/** Errors after which only this trial has failed. */
const OF_A_TRIAL = ['evaluate-failed', 'evaluate-timeout', 'not-finite', 'alignment-check-failed']

/** Why a trial failed, if the search can go on after the error. `planning`: nothing was read or written yet. */
export function reasonOf(error: unknown, planning: boolean): string | undefined {
  if (!(error instanceof Fault)) return undefined
  const [first] = error.diagnostics.filter(({ severity }) => severity === 'error')
  if (!first || first.code === 'interrupted') return undefined
  const isOwn = error.diagnostics.every(({ code }) => OF_A_TRIAL.includes(code))
  return isOwn || (planning && error.exit === 2) ? first.message : undefined
}
