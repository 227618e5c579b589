/** Analyses and scopes: units that several tensors need. */
import { digestedOf } from '../../expr/cost.js'
import type { Need } from '../../plan/unitForms.js'
import type { Unit } from '../../plan/units.js'
import type { FoundParts } from '../../steps/analysis.js'
import { analysisKindOf } from '../../steps/index.js'
import { refuseInterrupted } from '../interrupted.js'
import type { AnalysisRoom, Judge } from './analyses.js'
import { digestInputs } from './digesting.js'
import { NO_FIGURES, type UnitRecord } from './records.js'
import { findScope } from './scopes.js'
import type { Engine } from './types.js'

/** Units that have a record already are not done again. `judge`: for analyses that choose by a metric. */
export async function doShared(engine: Engine, analyses: AnalysisRoom, judge?: Judge): Promise<void> {
  for (const unit of engine.units.shared()) await doSharedUnit(engine, unit, analyses, judge)
}

export async function doSharedUnit(engine: Engine, unit: Unit, analyses: AnalysisRoom, judge?: Judge): Promise<void> {
  const { signal } = engine
  refuseInterrupted(signal)
  if (await isShared(engine, unit)) return
  if (engine.left) throw engine.left([unit])
  if (unit.kind === 'analysis') await doAnalysis(engine, unit, analyses, judge)
  else await doScope(engine, unit)
  refuseInterrupted(signal)
}

/** Whether a unit has a record, of this run or of an earlier one. */
export async function isShared(engine: Engine, unit: Unit): Promise<boolean> {
  return engine.records.shared(needOf(unit)) !== undefined || (await takenOver(engine, unit))
}

/** How tensors refer to an analysis or a scope. */
export const needOf = (unit: Unit): Need => ({ kind: unit.kind as Need['kind'], index: indexOf(unit) })

/** Whether a record of an earlier run is valid and was reused. */
async function takenOver(engine: Engine, unit: Unit): Promise<boolean> {
  const { plan, claims, records, listen } = engine
  if (!claims.has(unit.key)) return false
  await digestInputs(engine, unit.reads)
  const record = claims.find({ key: unit.key, inputs: records.inputsOf(unit), outputs: [] })
  if (!record) return false
  records.keep(unit, record)
  const index = indexOf(unit)
  for (const step of unit.kind === 'analysis' ? plan.analyses[index]!.steps : [])
    listen({ kind: 'step', step, text: 'reused from an earlier run', fraction: 1 })
  return true
}

const indexOf = ({ id }: Unit): number => Number(id.split(' ')[1])

async function doAnalysis(engine: Engine, unit: Unit, analyses: AnalysisRoom, judge?: Judge): Promise<void> {
  const { plan, records } = engine
  const index = indexOf(unit)
  const analysis = plan.analyses[index]!
  const parts = analysisKindOf(analysis).inParts?.(analysis) ? await partsOf(engine, unit) : undefined
  const { findings, figures } = await analyses.run(analysis, index, judge, parts)
  records.make(unit, { outputs: [], findings, figures })
  // Write a long analysis to the journal before anything else begins.
  await digestReads(engine, unit)
}

/** The parts of an analysis's findings. They are of the content that the unit reads, so that is digested first. */
async function partsOf(engine: Engine, unit: Unit): Promise<FoundParts | undefined> {
  const { digests, notePart, claims, records } = engine
  if (!digests.enabled || !notePart) return undefined
  await digestReads(engine, unit)
  const part = (name: string) => ({ key: `${unit.key} ${name}`, inputs: records.inputsOf(unit), outputs: [] })
  return {
    find: (name) => claims.find(part(name))?.findings,
    keep: (name, findings) => notePart({ ...part(name), findings, figures: NO_FIGURES }),
  }
}

/** Digests what a unit reads. Inputs that tensors read anyway count as progress then. */
async function digestReads(engine: Engine, unit: Unit): Promise<void> {
  const { plan, digests, progress } = engine
  if (!digests.enabled) return
  const inPassing = new Set(
    plan.outputs.flatMap(({ tensors }) =>
      tensors.flatMap(({ expr }) => digestedOf(expr).map((read) => engine.units.stored.numberOf(read))),
    ),
  )
  await digestInputs(
    engine,
    unit.reads.filter((stored) => inPassing.has(stored)),
  )
  await digestInputs(engine, unit.reads, progress.bytes)
}

async function doScope(engine: Engine, unit: Unit): Promise<void> {
  engine.progress.begin(0, 0)
  await recordScope(engine, unit, await findScope(engine, indexOf(unit)))
}

/** Records the results of a scope's passes. Its inputs are there, or have digests. */
export async function recordScope(engine: Engine, unit: Unit, passes: readonly Float64Array[]): Promise<void> {
  const { records, digests, progress } = engine
  const findings = Object.fromEntries(passes.map((numbers, pass) => [`${pass}`, numbers]))
  records.make(unit, { outputs: [], findings, figures: NO_FIGURES })
  if (digests.enabled) await digestInputs(engine, unit.reads, progress.bytes)
}

/** Results of a scope's passes, as they are recorded. */
export const scopeResults = ({ findings }: UnitRecord): readonly Float64Array[] =>
  Object.values(findings) as Float64Array[]
