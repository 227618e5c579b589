/** Makes the rows of a tensor in another vocabulary. */

import { sharedCopy, sharedFloats, sharedInts } from '../../core/collections/sharedArrays.js'
import { elements } from '../../core/dtypes.js'
import { writeAt } from '../../storage/nameless.js'
import type { Values } from '../../views/readers.js'
import type { FoundArrays, TensorReader, Workshop } from '../analysis.js'
import { rowReader } from '../shared/rowReader.js'
import { COPIED, type GrownTensor, MADE, type SubwordWeights, type TransplantAnalysis } from './types.js'

/** About the elements that are read at once. */
const BATCH = 1 << 22

/** Memory to make a tensor with rows of so many elements, if the tensor itself is in a file. */
export const makingBytes = (width: number): number => 3 * 4 * Math.max(width, BATCH)

/** Rows of the result, by source. */
interface Sources {
  /** Rows of the result that are copies, and the rows of the model that they copy. */
  readonly places: readonly number[]
  readonly sources: readonly number[]
  readonly filled: readonly number[]
  readonly made: readonly number[]
}

function sourcesOf({ runs }: TransplantAnalysis): Sources {
  const places: number[] = []
  const sources: number[] = []
  const filled: number[] = []
  const made: number[] = []
  let at = 0
  for (let run = 0; run < runs.length; run += 3)
    for (let i = 0; i < runs[run]!; i++, at++)
      if (runs[run + 1] === COPIED) {
        places.push(at)
        sources.push(runs[run + 2]! + i)
      } else (runs[run + 1] === MADE ? made : filled).push(at)
  return { places, sources, filled, made }
}

/** Where the rows of the result go: memory if there is enough, or a file. */
interface Sink {
  readonly values: Float32Array | { readonly fd: number }
  /** Puts rows that follow one another. */
  put(row: number, rows: Float32Array): void
}

async function sinkOf({ spare, scratch }: Workshop, rows: number, width: number, tensors: number): Promise<Sink> {
  const bytes = 4 * rows * width
  // The next one is made while this one is written.
  if (scratch && bytes * Math.min(2, tensors) > spare) {
    const fd = await scratch(bytes)
    return { values: { fd }, put: (row, own) => writeAt(fd, own, 4 * row * width) }
  }
  const values = sharedFloats(rows * width)
  return { values, put: (row, own) => values.set(own, row * width) }
}

/** A tensor of the result, as float32. */
export async function grownTensor(
  analysis: TransplantAnalysis,
  found: FoundArrays,
  { tensor }: { readonly tensor: string },
  workshop: Workshop,
): Promise<Values> {
  const { reader, team } = workshop
  const own = analysis.grown.find(({ tensor: { name } }) => name === tensor)!
  const { shape } = own.tensor
  const width = elements(shape.slice(1))
  const sink = await sinkOf(workshop, analysis.rows, width, analysis.grown.length)
  const rows = batches(reader, own, width)
  const { places, sources, filled, made } = sourcesOf(analysis)
  await rows.each(sources, (place, row) => sink.put(places[place]!, row))
  await team.pause()
  const { missing, pieces = [] } = analysis
  // A token without pieces gets the mean.
  const averaged =
    missing === 'mean' ? [...filled, ...made] : [...filled, ...made.filter((_, i) => pieces[i]?.length === 0)]
  if (averaged.length > 0) {
    const mean = await meanRow(rows, shape[0]!, width)
    for (const at of averaged) sink.put(at, mean)
  }
  // What a file does not hold yet is 0.
  if (missing === 'subword') await addPieces(analysis, own, rows, width, (i, row) => sink.put(made[i]!, row))
  if (missing === 'omp' || missing === 'nearest') await combine(analysis, own, found, sink, width, made, team)
  return sink.values
}

/** Reads rows of a tensor of the model, a batch at a time. */
interface Rows {
  /** Each of these rows, in order. The array is used again. */
  each(rows: readonly number[], use: (place: number, row: Float32Array) => void): Promise<void>
}

function batches(reader: TensorReader, { tensor }: GrownTensor, width: number): Rows {
  const most = Math.max(1, Math.floor(BATCH / width))
  const read = rowReader(reader, tensor, width)
  return {
    async each(rows, use) {
      for (let from = 0; from < rows.length; from += most) {
        const some = Int32Array.from(rows.slice(from, from + most))
        const into = sharedFloats(some.length * width)
        await read(some, into)
        for (let i = 0; i < some.length; i++) use(from + i, into.subarray(i * width, (i + 1) * width))
      }
    },
  }
}

/** The mean of all rows: sums in the order of rows. */
async function meanRow(rows: Rows, count: number, width: number): Promise<Float32Array> {
  const sums = new Float64Array(width)
  await rows.each(
    Array.from({ length: count }, (_, row) => row),
    (_, row) => {
      for (let i = 0; i < width; i++) sums[i] = sums[i]! + row[i]!
    },
  )
  return Float32Array.from(sums, (sum) => sum / Math.max(1, count))
}

const WEIGHT: Readonly<Record<SubwordWeights, (place: number, count: number) => number>> = {
  even: () => 1,
  first: (place, count) => count - place,
  last: (place) => place + 1,
}

/** Weighted means of the rows of pieces, in the order of pieces. */
async function addPieces(
  { pieces = [], subwordWeights }: TransplantAnalysis,
  { role }: GrownTensor,
  rows: Rows,
  width: number,
  put: (token: number, row: Float32Array) => void,
): Promise<void> {
  const weigh = WEIGHT[subwordWeights![role]]
  const tokens = pieces.flatMap((ids, token) => ids.map((_, place) => ({ token, place, count: ids.length })))
  const sums = new Float64Array(width)
  let total = 0
  await rows.each(pieces.flat(), (at, row) => {
    const { token, place, count } = tokens[at]!
    const weight = weigh(place, count)
    if (place === 0) {
      sums.fill(0)
      total = 0
    }
    total += weight
    for (let i = 0; i < width; i++) sums[i] = sums[i]! + weight * row[i]!
    if (place === count - 1)
      put(
        token,
        Float32Array.from(sums, (sum) => sum / total),
      )
  })
}

/** Sums of shared rows, which are copied already, in the order in which they were chosen. */
async function combine(
  { shared, runs }: TransplantAnalysis,
  { part }: GrownTensor,
  found: FoundArrays,
  { values, put }: Sink,
  width: number,
  made: readonly number[],
  team: Workshop['team'],
): Promise<void> {
  if (runs.length === 0 || made.length === 0) return
  const atoms = sharedCopy(found[`${part}/atoms`] as Int32Array)
  const weights = sharedCopy(found[`${part}/weights`] as Float64Array)
  const k = atoms.length / made.length
  // The row of a token is at the donor's row in the result.
  const places = sharedCopy(Int32Array.from(shared.donor))
  const most = Math.max(1, Math.floor(BATCH / width))
  for (let from = 0; from < made.length; from += most) {
    const tokens = Math.min(most, made.length - from)
    const sums = sharedFloats(tokens * width)
    await team.sumRows({
      ...{ rows: values, width, places, tokens, k, sums, next: sharedInts(1) },
      atoms: atoms.subarray(from * k, (from + tokens) * k),
      weights: weights.subarray(from * k, (from + tokens) * k),
    })
    for (let i = 0; i < tokens; i++) put(made[from + i]!, sums.subarray(i * width, (i + 1) * width))
    await team.pause()
  }
}
