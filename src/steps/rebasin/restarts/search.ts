/** Tries several seeds and keeps the best alignment, by its score or by a metric of the model that is made with it. */
import { fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import type { AnalysisProgress, Found, Workshop } from '../../analysis.js'
import type { RebasinAnalysis, RebasinRecord, RestartsRecord } from '../types.js'

type FoundBySteps = ReadonlyMap<string, Found<RebasinRecord>>
type Tell = (progress: AnalysisProgress) => void
type Find = (analysis: RebasinAnalysis, tell: Tell) => Promise<FoundBySteps>

export async function bestOfSeeds(
  analysis: RebasinAnalysis,
  workshop: Workshop,
  tell: Tell,
  find: Find,
): Promise<FoundBySteps> {
  const { seed, restarts, select, steps } = analysis
  if (restarts === undefined) return find(analysis, tell)
  const earlier = select && earlierRestarts(workshop.earlier?.(steps[0]!))
  // A reproduction runs no command: it takes the seed that was chosen.
  if (earlier) return withRestarts(await find({ ...analysis, seed: earlier.seed }, tell), earlier)
  if (select && !workshop.judge)
    throw fault(
      'needs-commands',
      `${steps[0]} selects a seed by ${select.metric}, which needs the recipe’s evaluate command`,
      'run the recipe with --allow-commands',
    )
  const candidates: RestartsRecord['candidates'][number][] = []
  const known = new Map<string, number>()
  let best: { readonly found: FoundBySteps; readonly seed: number; readonly value: number } | undefined
  for (let index = 0; index < restarts; index++) {
    const own = seed + index
    const found = await find({ ...analysis, seed: own }, inShares(tell, index, restarts, own))
    const score = [...found.values()][0]!.record.score!.after
    const value = select ? await measured(found, select.metric, workshop.judge!, known) : score
    candidates.push({ seed: own, score, ...(select ? { value } : {}) })
    if (!best || (select && !select.maximize ? value < best.value : value > best.value))
      best = { found, seed: own, value }
  }
  return withRestarts(best!.found, { seed: best!.seed, by: select?.metric ?? 'score', candidates })
}

/** The metric of a candidate. Seeds that find the same permutations are evaluated once. */
async function measured(
  found: FoundBySteps,
  metric: string,
  judge: NonNullable<Workshop['judge']>,
  known: Map<string, number>,
): Promise<number> {
  const key = JSON.stringify(
    [...found.values()].map(({ record }) => Object.values(record.groups!).map((group) => group.permutation)),
  )
  const before = known.get(key)
  if (before !== undefined) return before
  const figures = await judge(found)
  const value = Object.hasOwn(figures, metric) ? figures[metric] : undefined
  if (value === undefined)
    throw fault(
      'evaluate-failed',
      `the evaluate command printed no metric ${quote(metric)}, by which select chooses`,
      `name one of its metrics: ${Object.keys(figures).join(', ')}`,
      1,
    )
  known.set(key, value)
  return value
}

const withRestarts = (found: FoundBySteps, restarts: RestartsRecord): FoundBySteps =>
  new Map([...found].map(([step, { record, arrays }]) => [step, { record: { ...record, restarts }, arrays }]))

/** The progress of one of several searches, as a part of all of them. */
const inShares =
  (tell: Tell, index: number, count: number, seed: number): Tell =>
  ({ text, fraction = 0, whole = fraction, ...progress }) =>
    tell({
      ...progress,
      text: count > 1 ? `seed ${seed} (${index + 1} of ${count}): ${text}` : text,
      fraction: (index + fraction) / count,
      whole: (index + whole) / count,
    })

/** The record of an earlier run, if it has one. */
const earlierRestarts = (record: object | undefined): RestartsRecord | undefined =>
  record && 'restarts' in record ? (record.restarts as RestartsRecord) : undefined
