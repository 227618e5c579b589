/** Which tensors of a batch are made now, and what is digested after them. */
import type { TensorPlace } from '../../plan/flow/types.js'
import type { Unit } from '../../plan/units.js'
import type { Job } from '../compile/job.js'
import { digestJob } from './digesting.js'
import { NO_FIGURES, NOTHING_FOUND } from './records.js'
import type { Engine } from './types.js'

export interface TensorWork {
  readonly tensors: Iterable<TensorPlace>
  /** Digests of stored tensors that no tensor's program makes. */
  readonly rest: () => Iterable<Job>
}

/** All of the outputs' tensors that this run makes, and all stored tensors. */
export const wholeWork = (engine: Engine, outputs: readonly number[]): TensorWork => ({
  tensors: [...ownTensors(engine, outputs)],
  rest: () => restOf(engine),
})

/** The tensors of outputs that this run makes. */
function* ownTensors(engine: Engine, outputs: readonly number[]): Generator<TensorPlace> {
  const { plan, part } = engine
  for (const output of outputs)
    for (const tensor of plan.outputs[output]!.tensors.keys())
      if (!part || part.owns(output, tensor)) yield { output, tensor }
}

/** Digests of files cover all of their tensors, also those that no output uses. */
function* restOf(engine: Engine): Generator<Job> {
  const { units, digests, part } = engine
  if (!digests.enabled) return
  for (const unit of units.digests()) if (!part || part.digests(unit.reads[0]!)) yield* digestUnit(engine, unit)
  // The first of several outputs gets its lineage before the others are made.
  if (!part) yield* digestsOf(engine, units.stored.numbers())
}

export function* digestsOf(engine: Engine, stored: Iterable<number>): Generator<Job> {
  for (const number of stored) if (engine.digests.take(number)) yield digestJob(engine, number)
}

function* digestUnit(engine: Engine, unit: Unit): Generator<Job> {
  const [stored] = unit.reads
  if (!engine.digests.take(stored!)) return
  engine.records.make(unit, { outputs: [], findings: NOTHING_FOUND, figures: NO_FIGURES })
  yield digestJob(engine, stored!)
}

/** Makes the work of stages from their tensors and from the files whose tensors are all to be digested. */
export function stageWorks(engine: Engine): (tensors: readonly TensorPlace[], files: readonly number[]) => TensorWork {
  const { units, digests, part } = engine
  const unread = new Map<number, Unit[]>()
  if (digests.enabled)
    for (const unit of units.digests()) {
      if (part && !part.digests(unit.reads[0]!)) continue
      const { file } = units.stored.placeOf(unit.reads[0]!)
      const own = unread.get(file) ?? []
      unread.set(file, own)
      own.push(unit)
    }
  function* rest(files: readonly number[]): Generator<Job> {
    for (const file of files) {
      for (const unit of unread.get(file) ?? []) yield* digestUnit(engine, unit)
      if (!part) yield* digestsOf(engine, units.stored.numbersIn(file))
    }
  }
  return (tensors, files) => ({ tensors, rest: () => rest(files) })
}
