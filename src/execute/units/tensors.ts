/** Tensors and factorings of some of a plan's outputs. */

import { factoringsOf } from '../../expr/walk.js'
import { treeDigest } from '../../kernels/index.js'
import { quantizerPasses } from '../../methods/quantize.js'
import type { TensorPlace } from '../../plan/flow/types.js'
import type { Placement, Plan } from '../../plan/types.js'
import type { Unit } from '../../plan/units.js'
import type { Job } from '../compile/job.js'
import { compileDigest, compileFactoring, compileTensor } from '../compile/tensor.js'
import { fileWriter } from '../files.js'
import { leafValues } from '../findings.js'
import { refuseInterrupted } from '../interrupted.js'
import { type Remarks, remarksOf } from '../remarks.js'
import { type JobResult, schedule } from '../schedule/schedule.js'
import { digestInputs, noteDigests } from './digesting.js'
import { NO_FIGURES, NOTHING_FOUND } from './records.js'
import type { Engine } from './types.js'
import { digestsOf, type TensorWork } from './work.js'

/** The positions of the outputs' files among the files of the pool. */
export interface OutputFiles {
  /** Among the readable files: the first file of an output. */
  readonly readable: number
  /** By output of this batch: its first file among all written files. */
  readonly first: ReadonlyMap<number, number>
  /** The paths of all written files. */
  readonly paths: readonly string[]
}

/** Reuses valid records of earlier runs, and makes the other tensors. */
export async function doTensors(engine: Engine, files: OutputFiles, work: TensorWork): Promise<void> {
  const { plan, pool, kernels, digests, progress, signal } = engine
  const inParts: Made[] = []
  await reuse(engine, work.tensors, files)
  refuseLeft(engine, work.tensors)
  const uses = usesOfFactorings(engine, work.tensors)
  await schedule(jobsOf(engine, work, files), pool, {
    math: kernels.math,
    ...(signal ? { signal } : {}),
    progress: (read, written, job) => progress.bytes(read, written, nameOf(plan, job)),
    values: leafValues(engine.findings),
    finished(_, result, job) {
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
      if (placements.length !== 1) inParts.push(made)
      else record(engine, made, [digests.enabled ? treeDigest(kernels, result.output!, placements[0]!.bytes) : null])
    },
  })
  progress.end()
  refuseInterrupted(signal)
  await recordParts(engine, inParts, files)
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

/** Records tensors that are stored in parts: the digest of each part is of its bytes in the file. */
async function recordParts(engine: Engine, made: readonly Made[], files: OutputFiles): Promise<void> {
  const places = made.map((one) => placesOf(engine, one, files))
  const found = engine.digests.enabled ? await digestWritten(engine, places.flat()) : undefined
  let next = 0
  for (const [index, one] of made.entries())
    record(
      engine,
      one,
      places[index]!.map(() => found?.[next++] ?? null),
    )
}

/** The stored parts of a tensor among the readable files. */
const placesOf = (
  { plan }: Engine,
  { output, tensor }: NonNullable<Job['target']>,
  files: OutputFiles,
): (readonly [file: number, offset: number, bytes: number])[] =>
  plan.outputs[output]!.tensors[tensor]!.placements.map(
    ({ file, offset, bytes }) => [files.readable + files.first.get(output)! + file, offset, bytes] as const,
  )

/** A run that makes nothing itself names what is missing. It makes the checkpoints of checks, which are no outputs. */
function refuseLeft({ plan, records, units, left, part }: Engine, tensors: Iterable<TensorPlace>): void {
  if (!left || part) return
  const missing: Unit[] = []
  for (const { output, tensor } of tensors)
    if (!plan.outputs[output]!.check && !records.tensor(output, tensor)) missing.push(units.tensor(output, tensor))
  if (missing.length > 0) throw left(missing)
}

function* jobsOf(engine: Engine, { tensors, rest }: TensorWork, files: OutputFiles): Generator<Job> {
  const { plan, units, digests, findings, records } = engine
  const factored = new Set<number>()
  for (const { output, tensor: index } of tensors) {
    const tensor = plan.outputs[output]!.tensors[index]!
    const isDone = records.tensor(output, index) !== undefined
    const { expr } = tensor
    for (const factoring of expr.kind === 'factor' ? factoringsOf(expr) : []) {
      // Factors that exist already can still need their figures.
      if (factored.has(factoring) || (isDone && records.shared({ kind: 'factoring', index: factoring }))) continue
      factored.add(factoring)
      yield compileFactoring(plan, factoring, digests, findings)
      yield* digestsOf(engine, units.unit({ kind: 'factoring', index: factoring }).reads)
    }
    if (isDone) continue
    yield compileTensor(plan, tensor, files.first.get(output)!, digests, findings, { output, tensor: index })
    // A record needs the digests of all inputs: tensors that no program reads in the order of their bytes are read only for that.
    if (digests.enabled) yield* digestsOf(engine, units.tensor(output, index).reads)
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
  may: (unit: Unit) => boolean = () => true,
  taken: readonly Unit[] = [],
): Promise<void> {
  const done = [...taken, ...(await takeOver(engine, tensors, files, may))]
  const written = done.reduce((sum, { cost }) => sum + cost.write, 0)
  engine.progress.begin(written, done.length)
}

/**
 * Finds the tensors of earlier runs whose outputs and inputs match the recorded digests. A record alone
 * never gets into a lineage.
 */
async function takeOver(
  engine: Engine,
  tensors: Iterable<TensorPlace>,
  files: OutputFiles,
  may: (unit: Unit) => boolean,
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
async function digestWritten(
  { pool, kernels, signal }: Engine,
  places: readonly (readonly [file: number, offset: number, bytes: number])[],
): Promise<string[]> {
  const digests: string[] = []
  await schedule(
    (function* () {
      for (const place of places) yield compileDigest(...place)
    })(),
    pool,
    {
      math: kernels.math,
      ...(signal ? { signal } : {}),
      progress: () => {},
      finished(index, { leaves }) {
        digests[index] = treeDigest(kernels, leaves.get(0)!, places[index]![2])
      },
    },
  )
  refuseInterrupted(signal)
  return digests
}
