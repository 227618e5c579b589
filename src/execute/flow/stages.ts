/** Does the work of a batch in stages, while files come and go. */
import { aheadOf } from '../../plan/flow/ahead.js'
import { remaining } from '../../plan/flow/remaining.js'
import type { Phase, Stage, TensorPlace } from '../../plan/flow/types.js'
import type { Unit } from '../../plan/units.js'
import { refuseInterrupted } from '../interrupted.js'
import type { Streaming } from '../types.js'
import type { AnalysisRoom, Judge } from '../units/analyses.js'
import { doSharedUnit, isShared, needOf } from '../units/shared.js'
import { doTensors, reuse } from '../units/tensors.js'
import type { Engine, OutputFiles } from '../units/types.js'
import { stageWorks } from '../units/work.js'
import { type DeliveryMap, deliverFiles, takeDelivered } from './deliver.js'
import { isLastPass, isScopePass, type StagedScopes, stagedScopes } from './scopes.js'
import { openUploads, type Uploads } from './uploads.js'

/** What the work of a batch needs. */
export interface StagedBatch {
  readonly engine: Engine
  readonly streaming: Streaming
  readonly analyses: AnalysisRoom
  /** The files of the batch's outputs. */
  readonly files: OutputFiles
  readonly judge?: Judge | undefined
  readonly statistics: () => Promise<void>
  readonly deliveries?: DeliveryMap | undefined
  /** Writes the records so far. */
  readonly flush: () => void
}

/** Does what many tensors need: the check of statistics, analyses and scopes. */
export async function shareInStages(batch: StagedBatch): Promise<void> {
  const { engine, streaming } = batch
  const { units, claims } = engine
  const isKnown = knowledge(engine, streaming)
  if (!claims.isEmpty) for (const unit of units.shared()) if (isKnown(unit)) await isShared(engine, unit)
  // A part does not find what its tensors need.
  const needed = engine.part && !engine.part.finds ? [...units.shared()] : []
  const missing = needed.filter((unit) => engine.records.shared(needOf(unit)) === undefined)
  if (missing.length > 0 && engine.left) throw engine.left(missing)
  if (!streaming.flow.stages.some(({ phase }) => phase.kind === 'statistics')) await batch.statistics()
  await doStages(batch, ({ kind }) => kind === 'statistics' || kind === 'shared')
}

/** Makes the outputs' tensors. Those of an earlier run whose inputs are known are taken over without fetching a file. */
export async function mergeInStages(batch: StagedBatch): Promise<void> {
  const { engine, streaming, files } = batch
  const outputs = [...files.first.keys()]
  const isOwn = (phase: Phase): boolean => phase.kind === 'batch' && phase.outputs.some((one) => outputs.includes(one))
  const tensors = streaming.flow.stages.flatMap(({ phase, pieces }) =>
    isOwn(phase) ? pieces.flatMap((piece) => piece.tensors) : [],
  )
  const isKnown = knowledge(engine, streaming)
  const taken = await takeDelivered(engine, files, batch.deliveries, isKnown)
  await reuse(engine, tensors, files, isKnown, taken)
  await doStages(batch, isOwn)
  await digestHere(batch, isOwn)
  engine.progress.end()
}

/** Digests the tensors of files that stay on this machine, as far as nothing else reads them. */
async function digestHere(batch: StagedBatch, isOwn: (phase: Phase) => boolean): Promise<void> {
  const { engine, streaming } = batch
  const { flow, supply } = streaming
  const isFirst = flow.stages.some(({ phase }) => phase.kind === 'batch' && phase.first && isOwn(phase))
  if (!isFirst && !engine.part) return
  const here = [...engine.plan.files.keys()].filter((file) => !supply.brings(file))
  await doTensors(engine, batch.files, stageWorks(engine)([], here))
}

/** Does factorings only to find their ranks. `survey` does some of them. */
export const surveyInStages = (
  batch: StagedBatch,
  survey: (factorings: readonly number[]) => Promise<void>,
): Promise<void> => doStages(batch, ({ kind }) => kind === 'survey', survey)

/** Does the stages of the phases that are chosen. Those before them are done. */
async function doStages(
  batch: StagedBatch,
  isChosen: (phase: Phase) => boolean,
  survey?: (factorings: readonly number[]) => Promise<void>,
): Promise<void> {
  const { engine, streaming } = batch
  const works = stageWorks(engine)
  const uploads = openUploads(engine.signal)
  const scopes = stagedScopes(engine)
  /** Phases that are over, although nothing is recorded of them yet. */
  const over = new Set<Phase>()
  try {
    let left = await begin(batch, isChosen, over)
    for (let place = 0; place < left.length; place++) {
      const stage = left[place]!
      const { phase } = stage
      if (!isChosen(phase)) break
      refuseInterrupted(engine.signal)
      const begins = stage.pieces.length > 0 && left[place - 1]?.phase !== phase
      if (isScopePass(phase) && begins && scopes.skip(phase)) {
        over.add(phase)
        if (isLastPass(engine, phase)) await scopes.end(phase)
        left = await begin(batch, isChosen, over)
        place = -1
        continue
      }
      await bring(streaming, left, place, uploads)
      await doStage(batch, stage, scopes)
      await survey?.(stage.pieces.flatMap(({ factorings = [] }) => factorings))
      const tensors = stage.pieces.flatMap((piece) => piece.tensors)
      if (tensors.length + stage.digests.length > 0) await doTensors(engine, batch.files, works(tensors, stage.digests))
      // A resumed run must not need again what goes now.
      batch.flush()
      await drop(batch, stage.last)
      await deliverFiles(batch, stage.complete, uploads)
      if (left[place + 1]?.phase === phase) continue
      over.add(phase)
      if (isScopePass(phase) && stage.pieces.length > 0) {
        scopes.conclude(phase)
        if (isLastPass(engine, phase)) await scopes.end(phase)
      }
    }
    await uploads.atMost(0)
  } finally {
    await uploads.close()
  }
}

/** The stages that are left. Removes the files that they do not need. */
async function begin(
  batch: StagedBatch,
  isChosen: (phase: Phase) => boolean,
  over: ReadonlySet<Phase>,
): Promise<readonly Stage[]> {
  const { supply } = batch.streaming
  const left = stagesLeft(batch, isChosen, over)
  const needed = new Set(left.flatMap(({ last }) => last))
  await drop(
    batch,
    [...supply.held()].filter((file) => !needed.has(file)),
  )
  supply.expect(left.flatMap(({ needs }) => needs))
  return left
}

/** Brings the files of a stage when there is room for them, and begins to fetch those of later stages. */
async function bring({ supply }: Streaming, left: readonly Stage[], place: number, uploads: Uploads): Promise<void> {
  const { needs, beside, pieces } = left[place]!
  const held = new Set([...supply.held(), ...needs])
  const bytes = [...held].reduce((sum, file) => sum + supply.sizeOf(file), 0)
  await uploads.atMost(Math.max(0, supply.disk - bytes - beside))
  const { disk, sizeOf } = supply
  // What an interrupted run has finished is uploaded first: it takes room that the stages do not count.
  const later = pieces.length === 0 ? [] : aheadOf(left, place, { disk, sizeOf, held, pending: uploads.pending() })
  const coming = supply.need(needs)
  supply.ahead(later)
  await coming
}

/** The work of a stage that is not about tensors of outputs. */
async function doStage(
  { engine, analyses, judge, statistics }: StagedBatch,
  stage: Stage,
  scopes: StagedScopes,
): Promise<void> {
  const { phase, pieces } = stage
  if (pieces.length === 0) return
  if (phase.kind === 'statistics') await statistics()
  if (isScopePass(phase)) await scopes.add(phase, stage)
  else if (phase.kind === 'shared') await doSharedUnit(engine, engine.units.unit(phase.need), analyses, judge)
}

function stagesLeft(
  { engine, streaming }: StagedBatch,
  isChosen: (phase: Phase) => boolean,
  over: ReadonlySet<Phase>,
): Stage[] {
  const { flow, supply } = streaming
  const { units, records, digests, part } = engine
  const begin = flow.stages.findIndex(({ phase }) => isChosen(phase))
  const earlier = new Set(flow.stages.slice(0, Math.max(0, begin)).map(({ phase }) => phase))
  const isMade = ({ output, tensor }: TensorPlace): boolean =>
    records.tensor(output, tensor) !== undefined &&
    units.tensor(output, tensor).needs.every((need) => need.kind !== 'factoring' || records.shared(need) !== undefined)
  return remaining(flow, {
    isMade,
    isPast: (phase) =>
      earlier.has(phase) || over.has(phase) || (phase.kind === 'shared' && records.shared(phase.need) !== undefined),
    isDigested: (file) =>
      [...units.stored.numbersIn(file)].every(
        (stored) => digests.get(stored) !== undefined || part?.digests(stored) === false,
      ),
    there: supply.there(),
  })
}

/** Removes files that nobody holds open any more. */
async function drop({ engine, streaming, analyses }: StagedBatch, files: readonly number[]): Promise<void> {
  if (files.length === 0) return
  analyses.release(files)
  await engine.pool.release({ inputs: files, outputs: [] })
  await streaming.supply.drop(files)
}

/** Whether everything that a unit reads is there, or has a digest. */
function knowledge({ units, digests }: Engine, { supply }: Streaming): (unit: Unit) => boolean {
  const isKnown = ({ reads, needs }: Unit): boolean =>
    reads.every((stored) => digests.get(stored) !== undefined || !supply.brings(units.stored.placeOf(stored).file)) &&
    needs.every((need) => isKnown(units.unit(need)))
  return isKnown
}
