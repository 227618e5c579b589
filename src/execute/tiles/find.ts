/** Finds the ranges of tiles of an earlier run that are valid: what they were made from and what they wrote is read again. */

import { treeDigest } from '../../kernels/index.js'
import { DIGEST_BYTES, LEAF } from '../../kernels/types.js'
import type { TensorPlace } from '../../plan/flow/types.js'
import type { Placement } from '../../plan/types.js'
import type { Unit } from '../../plan/units.js'
import type { Job } from '../compile/job.js'
import type { FilePart } from '../compile/tensor.js'
import type { TileRange } from '../schedule/ranges.js'
import { digestParts } from '../units/digesting.js'
import type { Engine, OutputFiles } from '../units/types.js'
import type { ByteRange, TileRecord } from './records.js'

/** Valid ranges. */
export interface FoundTiles {
  /** The bytes of outputs that they have. */
  readonly written: number
  /** The bytes that reduce passes need not read. */
  readonly spared: number
  /** Those of a tensor, for its job. */
  of(target: TensorPlace, job: Job): readonly TileRange[]
}

/** Ranges of a tensor that may be valid. */
interface Claimed {
  readonly unit: Unit
  readonly placements: readonly Placement[]
  readonly records: readonly TileRecord[]
}

export async function findTiles(
  engine: Engine,
  tensors: Iterable<TensorPlace>,
  files: OutputFiles,
): Promise<FoundTiles> {
  const claimed = engine.claims.hasTiles ? [...claimedOf(engine, tensors)] : []
  const inputs = await readInputs(engine, claimed)
  const outputs = await readOutputs(engine, claimed, files)
  const valid = new Map<string, Claimed>()
  for (const one of claimed) {
    const { unit } = one
    const now = engine.records.inputsOf(unit)
    const isValid = (record: TileRecord): boolean =>
      record.inputs.every((digest, index) => digest === null || digest === now[index]) &&
      record.leaves.every((bytes) => areEqual(inputs(unit.reads[bytes.read]!, bytes), bytes.digests)) &&
      (!record.output || areEqual(outputs(unit, record.output), record.output.digests))
    valid.set(unit.id, { ...one, records: one.records.filter(isValid) })
  }
  const all = [...valid.values()]
  return {
    written: all.reduce((sum, { records }) => sum + writtenBy(records), 0),
    spared: all.flatMap(({ records }) => records).reduce((sum, { read, output }) => sum + (output ? 0 : read), 0),
    of: ({ output, tensor }, job) => {
      const one = valid.get(`tensor ${output} ${tensor}`)
      return one ? one.records.map((record) => rangeFor(engine, one.unit, job, record)) : []
    },
  }
}

/** Bytes in any of the ranges: runs that were interrupted at different tiles leave ranges that overlap. */
function writtenBy(records: readonly TileRecord[]): number {
  let [sum, end] = [0, 0]
  for (const { from, bytes } of records.flatMap(({ output }) => output ?? []).sort((a, b) => a.from - b.from)) {
    sum += Math.max(0, from + bytes - Math.max(end, from))
    end = Math.max(end, from + bytes)
  }
  return sum
}

function* claimedOf({ plan, units, claims, records }: Engine, tensors: Iterable<TensorPlace>): Generator<Claimed> {
  for (const target of tensors) {
    if (records.tensor(target.output, target.tensor)) continue
    const unit = units.tensor(target.output, target.tensor)
    const { placements, quantized } = plan.outputs[target.output]!.tensors[target.tensor]!
    const own = quantized ? placements.slice(0, 1) : placements
    const written = own.reduce((sum, { bytes }) => sum + bytes, 0)
    const isSound = ({ inputs, leaves, output }: TileRecord): boolean =>
      inputs.length === unit.reads.length + unit.needs.length &&
      leaves.every(
        (leaf) => leaf.read < unit.reads.length && isIn(leaf, units.stored.placeOf(unit.reads[leaf.read]!).bytes),
      ) &&
      (!output || isIn(output, written))
    const found = claims.tiles(unit.key).filter(isSound)
    if (found.length > 0) yield { unit, placements: own, records: found }
  }
}

/** Whether the range is made of whole leaves of so many bytes. */
const isIn = ({ from, bytes }: ByteRange, all: number): boolean =>
  from % LEAF === 0 && from + bytes <= all && (bytes % LEAF === 0 || from + bytes === all)

const areEqual = (a: Uint8Array | undefined, b: Uint8Array): boolean => a !== undefined && Buffer.compare(a, b) === 0

/** Digests the stored tensors, or the ranges of them, that records name. */
async function readInputs(
  engine: Engine,
  claimed: readonly Claimed[],
): Promise<(stored: number, bytes: ByteRange) => Uint8Array | undefined> {
  const { digests, kernels, units } = engine
  const whole = new Set<number>()
  for (const { unit, records } of claimed)
    for (const { inputs } of records)
      for (const [index, stored] of unit.reads.entries())
        if (inputs[index] !== null && digests.take(stored)) whole.add(stored)
  const parts = (stored: number, from: number, bytes: number): FilePart[] => {
    const { file, offset } = units.stored.placeOf(stored)
    return [{ file, offset: offset + from, bytes }]
  }
  const leavesOf = new Map<number, Uint8Array>()
  const wholes = [...whole].map((stored) => ({ stored, bytes: units.stored.placeOf(stored).bytes }))
  const found = await digestParts(
    engine,
    wholes.map(({ stored, bytes }) => parts(stored, 0, bytes)),
  )
  for (const [index, { stored, bytes }] of wholes.entries()) {
    leavesOf.set(stored, found[index]!)
    digests.set(stored, treeDigest(kernels, found[index]!, bytes))
  }
  const ranges = new Map<string, FilePart[]>()
  for (const { unit, records } of claimed)
    for (const { read, from, bytes } of records.flatMap(({ leaves }) => leaves)) {
      const stored = unit.reads[read]!
      if (!leavesOf.has(stored)) ranges.set(`${stored} ${from} ${bytes}`, parts(stored, from, bytes))
    }
  const read = await digestRanges(engine, ranges)
  return (stored, { from, bytes }) => {
    const leaves = leavesOf.get(stored)
    if (!leaves) return read(`${stored} ${from} ${bytes}`)
    return leaves.subarray((from / LEAF) * DIGEST_BYTES, Math.ceil((from + bytes) / LEAF) * DIGEST_BYTES)
  }
}

/** Digests what records say that they wrote. */
async function readOutputs(
  engine: Engine,
  claimed: readonly Claimed[],
  files: OutputFiles,
): Promise<(unit: Unit, bytes: ByteRange) => Uint8Array | undefined> {
  const ranges = new Map<string, FilePart[]>()
  for (const { unit, placements, records } of claimed) {
    const first = files.readable + files.first.get(unit.makes[0]!.output)!
    for (const { output } of records)
      if (output) ranges.set(`${unit.id} ${output.from} ${output.bytes}`, piecesOf(placements, output, first))
  }
  const read = await digestRanges(engine, ranges)
  return ({ id }, { from, bytes }) => read(`${id} ${from} ${bytes}`)
}

/** The parts of files that have some of a tensor's bytes, in the order of its elements. */
function piecesOf(placements: readonly Placement[], { from, bytes }: ByteRange, firstFile: number): FilePart[] {
  const sorted = [...placements].sort((a, b) => a.from - b.from)
  return sorted.flatMap(({ file, offset, bytes: own, from: element, count }) => {
    const begin = element * (own / count)
    const [start, end] = [Math.max(begin, from), Math.min(begin + own, from + bytes)]
    return start < end ? [{ file: firstFile + file, offset: offset + start - begin, bytes: end - start }] : []
  })
}

async function digestRanges(
  engine: Engine,
  ranges: ReadonlyMap<string, readonly FilePart[]>,
): Promise<(key: string) => Uint8Array | undefined> {
  const found = await digestParts(engine, [...ranges.values()])
  const places = new Map([...ranges.keys()].map((key, index) => [key, index]))
  return (key) => found[places.get(key) ?? -1]
}

/** A valid record in the terms of the job that makes the tensor. */
function rangeFor({ units: { stored } }: Engine, { reads }: Unit, { program }: Job, record: TileRecord): TileRange {
  const { pass, firstTile, tiles, given, leaves, output, sums, counts, nonFinite, read } = record
  const digests = new Map<number, Uint8Array>()
  for (const [index, { digestIn, reader }] of program.leaves.entries()) {
    if (digestIn !== pass || reader.kind !== 'contiguous') continue
    const own = leaves.find(({ read }) => reads[read] === stored.numberOf(reader))
    if (own) digests.set(index, own.digests)
  }
  if (output) digests.set(-1, output.digests)
  return {
    ...{ pass, firstTile, tiles, given, digests, nonFinite, read },
    ...(sums ? { sums } : {}),
    ...(counts ? { counts } : {}),
  }
}
