import type { OutputFiles } from './types.js'
/** Tensors and factorings of some of a plan's outputs. */

import { factoringsOf } from '../../expr/walk.js'
import { treeDigest } from '../../kernels/index.js'
import { quantizerPasses } from '../../methods/quantize.js'
import type { TensorPlace } from '../../plan/flow/types.js'
import type { Placement, Plan } from '../../plan/types.js'
import type { Unit } from '../../plan/units.js'
import type { Job } from '../compile/job.js'
import { compileDigest, compileFactoring, compileTensor, type FilePart } from '../compile/tensor.js'
import { fileWriter } from '../files.js'
import { leafValues } from '../findings.js'
import { refuseInterrupted } from '../interrupted.js'
import { type Remarks, remarksOf } from '../remarks.js'
import { type JobResult, schedule } from '../schedule/schedule.js'
import { type FoundTiles, findTiles } from '../tiles/find.js'
import { isKept, tileKeeper } from '../tiles/keep.js'
import { digestInputs, digestParts, noteDigests } from './digesting.js'
import { NO_FIGURES, NOTHING_FOUND } from './records.js'
import type { Engine } from './types.js'
import { digestsOf, type TensorWork } from './work.js'

/** Reuses valid records of earlier runs, and makes the other tensors. */
export async function doTensors(engine: Engine, files: OutputFiles, work: TensorWork): Promise<void> {
  const { plan, pool, kernels, digests, progress, signal } = engine
  const common = { math: kernels.math, ...(signal ? { signal } : {}) }
  const done = await takeOver(engine, work.tensors, files)
  refuseLeft(engine, work.tensors)
  const found = await findTiles(engine, work.tensors, files)
  begin(engine, done, found)
  const parts = partsBook(engine, files)
  const uses = usesOfFactorings(engine, work.tensors)
  const keep = tileKeeper(engine)
  await schedule(jobsOf(engine, work, files, found, parts), pool, {
    ...common,
    ...(keep ? { keep } : {}),
    progress: (read, written, job) => parts.has(job) || progress.bytes(read, written, nameOf(plan, job)),
    values: leafValues(engine.findings),
    digested: (job, leaf, leaves) => parts.has(job) || noteDigests(engine, job, { leaves: new Map([[leaf, leaves]]) }),
    finished(_, result, job) {
      if (parts.take(job, result)) return
      noteDigests(engine, job, result)
      const { target, finds } = job
      progress.tensor(target !== undefined)
      if (finds) {
        const { factoring, at } = finds
        const factors = engine.shelf.put(factoring, result.memory!, at, uses.get(factoring) ?? 0)
        const unit = engine.units.unit({ kind: 'factoring', index: factoring })
        engine.records.make(unit, { outputs: [], findings: NOTHING_FOUND, figures: { factors } })
        progress.found(plan, factoring, factors)
      }
      engine.shelf.release(job.needs ?? [])
      if (!target) return
      const made = { ...target, figures: remarksOf(result) ?? NO_FIGURES }
      const { placements, quantized } = plan.outputs[target.output]!.tensors[target.tensor]!
      if (quantized) writeScales(placements[1]!, scalesOf(job, result), files, target.output)
      if (placements.length !== 1) parts.add(made)
      else record(engine, made, [digests.enabled ? treeDigest(kernels, result.output!, placements[0]!.bytes) : null])
    },
  })
  progress.end()
  refuseInterrupted(signal)
  await schedule(parts.jobs(), pool, {
    ...common,
    progress: () => {},
    finished: (_, result, job) => parts.take(job, result),
  })
  refuseInterrupted(signal)
}

/** The tensor that a job makes, or takes apart. */
const nameOf = ({ outputs, factorings }: Plan, { target, finds }: Job): string | undefined =>
  target ? outputs[target.output]!.tensors[target.tensor]!.name : finds && factorings[finds.factoring]!.tensor

/** The scales of a quantized tensor: the result of the pass of its outermost merge. */
function scalesOf({ merges }: Job, { results }: JobResult): Float64Array {
  const merge = merges.find(({ rule }) => rule.kind === 'method' && quantizerPasses(rule.method))
  const scales = merge && results[merge.own[0]!]
  if (!scales) throw new Error('internal: a quantized tensor without scales')
  return scales
}

function writeScales({ file, offset }: Placement, scales: Float64Array, { first, paths }: OutputFiles, output: number) {
  const bytes = new Uint8Array(Float32Array.from(scales).buffer)
  const writer = fileWriter(bytes, paths, 1)
  try {
    writer.write(first.get(output)! + file, 0, bytes.length, offset)
  } finally {
    writer.close()
  }
}

/** The results of a tensor, before its record is made. */
interface Made extends NonNullable<Job['target']> {
  readonly figures: Remarks
}

function record(engine: Engine, { output, tensor, figures }: Made, outputs: readonly (string | null)[]): void {
  engine.records.make(engine.units.tensor(output, tensor), { outputs, findings: NOTHING_FOUND, figures })
}

/** Tensors that are stored in parts: the digest of each part is of its bytes in the file, read when the tensor is made. */
interface PartsBook {
  add(made: Made): void
  /** Digests the parts of what was added since the last call. */
  jobs(): Generator<Job>
  has(job: Job): boolean
  /** Whether a finished job is one of these. A tensor is recorded after the last of its jobs. */
  take(job: Job, result: JobResult): boolean
}

function partsBook(engine: Engine, files: OutputFiles): PartsBook {
  const waiting: Made[] = []
  const owners = new Map<Job, { readonly bytes: number; readonly found: (digest: string) => void }>()
  return {
    add(made) {
      if (engine.digests.enabled) waiting.push(made)
      else
        record(
          engine,
          made,
          placesOf(engine, made, files).map(() => null),
        )
    },
    *jobs() {
      for (const made of waiting.splice(0)) {
        const places = placesOf(engine, made, files)
        const outputs: string[] = []
        let left = places.length
        for (const [part, place] of places.entries()) {
          const job = compileDigest([place])
          const found = (digest: string): void => {
            outputs[part] = digest
            if (--left === 0) record(engine, made, outputs)
          }
          owners.set(job, { bytes: place.bytes, found })
          yield job
        }
      }
    },
    has: (job) => owners.has(job),
    take(job, { leaves }) {
      const owner = owners.get(job)
      owners.delete(job)
      owner?.found(treeDigest(engine.kernels, leaves.get(0)!, owner.bytes))
      return owner !== undefined
    },
  }
}

/** The stored parts of a tensor among the readable files. */
const placesOf = ({ plan }: Engine, { output, tensor }: NonNullable<Job['target']>, files: OutputFiles): FilePart[] =>
  plan.outputs[output]!.tensors[tensor]!.placements.map(({ file, offset, bytes }) => ({
    file: files.readable + files.first.get(output)! + file,
    ...{ offset, bytes },
  }))

/** A run that makes nothing itself names what is missing. It makes the checkpoints of checks, which are no outputs. */
function refuseLeft({ plan, records, units, left, part }: Engine, tensors: Iterable<TensorPlace>): void {
  if (!left || part) return
  const missing: Unit[] = []
  for (const { output, tensor } of tensors)
    if (!plan.outputs[output]!.check && !records.tensor(output, tensor)) missing.push(units.tensor(output, tensor))
  if (missing.length > 0) throw left(missing)
}

function* jobsOf(
  engine: Engine,
  { tensors, rest }: TensorWork,
  files: OutputFiles,
  found: FoundTiles,
  parts: PartsBook,
): Generator<Job> {
  const { plan, units, digests, findings, records } = engine
  const factored = new Set<number>()
  for (const { output, tensor: index } of tensors) {
    const tensor = plan.outputs[output]!.tensors[index]!
    const isDone = records.tensor(output, index) !== undefined
    yield* parts.jobs()
    const { expr } = tensor
    for (const factoring of expr.kind === 'factor' ? factoringsOf(expr) : []) {
      // Factors that exist already can still need their figures.
      if (factored.has(factoring) || (isDone && records.shared({ kind: 'factoring', index: factoring }))) continue
      factored.add(factoring)
      yield compileFactoring(plan, factoring, digests, findings)
      yield* digestsOf(engine, units.unit({ kind: 'factoring', index: factoring }).reads)
    }
    if (isDone) continue
    const target = { output, tensor: index }
    const job = compileTensor(plan, tensor, files.first.get(output)!, digests, findings, target)
    // A record needs the digests of all inputs: tensors that no program reads in the order of their bytes are read only for that. They
    // come first, so that ranges of tiles can be recorded.
    if (digests.enabled) yield* digestsOf(engine, units.tensor(output, index).reads)
    yield isKept(job) ? { ...job, done: found.of(target, job) } : job
  }
  yield* rest()
}

/** How many unfinished tensors use each factoring. */
function usesOfFactorings(engine: Engine, tensors: Iterable<TensorPlace>): Map<number, number> {
  const uses = new Map<number, number>()
  for (const { output, tensor } of tensors) {
    const { expr } = engine.plan.outputs[output]!.tensors[tensor]!
    if (expr.kind !== 'factor' || engine.records.tensor(output, tensor)) continue
    for (const factoring of factoringsOf(expr)) uses.set(factoring, (uses.get(factoring) ?? 0) + 1)
  }
  return uses
}

/**
 * Takes over tensors of earlier runs, and counts them as progress. `may`: whether what a unit reads is there or known. `taken`: those
 * that were taken over already.
 */
export async function reuse(
  engine: Engine,
  tensors: Iterable<TensorPlace>,
  files: OutputFiles,
  may: (unit: Unit) => boolean,
  taken: readonly Unit[],
): Promise<void> {
  begin(engine, [...taken, ...(await takeOver(engine, tensors, files, may))])
}

/** Counts finished tensors as progress, and tiles of others. */
function begin({ progress }: Engine, done: readonly Unit[], found = { written: 0, spared: 0 }): void {
  const written = done.reduce((sum, { cost }) => sum + cost.write, 0)
  progress.begin(written + found.written, done.length, found.spared)
}

/**
 * Finds the tensors of earlier runs whose outputs and inputs match the recorded digests. A record alone
 * never gets into a lineage.
 */
async function takeOver(
  engine: Engine,
  tensors: Iterable<TensorPlace>,
  files: OutputFiles,
  may: (unit: Unit) => boolean = () => true,
): Promise<readonly Unit[]> {
  const { units, claims, records } = engine
  if (claims.isEmpty) return []
  const claimed: Unit[] = []
  for (const { output, tensor } of tensors) {
    if (records.tensor(output, tensor)) continue
    const unit = units.tensor(output, tensor)
    if (claims.has(unit.key) && may(unit)) claimed.push(unit)
  }
  const needs = claimed.flatMap((unit) => unit.needs.filter(({ kind }) => kind === 'factoring'))
  const factorings = [...new Map(needs.map((need) => [need.index, units.unit(need)])).values()]
  await digestInputs(engine, new Set([...claimed, ...factorings].flatMap(({ reads }) => reads)))
  for (const unit of factorings) {
    const record = claims.find({ key: unit.key, inputs: records.inputsOf(unit), outputs: [] })
    if (record) records.keep(unit, record)
  }
  const places = claimed.map(({ makes: [made] }) => placesOf(engine, made!, files))
  const written = await digestWritten(engine, places.flat())
  let next = 0
  return claimed.filter((unit, index) => {
    const outputs = places[index]!.map(() => written[next++]!)
    const record = claims.find({ key: unit.key, inputs: records.inputsOf(unit), outputs })
    if (record) records.keep(unit, record)
    return record !== undefined
  })
}

/** Digests of these parts of the outputs. */
const digestWritten = async (engine: Engine, places: readonly FilePart[]): Promise<string[]> =>
  (
    await digestParts(
      engine,
      places.map((place) => [place]),
    )
  ).map((leaves, index) => treeDigest(engine.kernels, leaves, places[index]!.bytes))
