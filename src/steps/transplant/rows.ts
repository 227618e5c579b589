/** Makes the rows of a tensor in another vocabulary. */
import { elements } from '../../core/dtypes.js'
import { sharedFloats } from '../../rebasin/team/team.js'
import type { FoundArrays, TensorReader, Workshop } from '../analysis.js'
import { rowReader } from '../shared/rowReader.js'
import { COPIED, FILLED, type GrownTensor, MADE, type SubwordWeights, type TransplantAnalysis } from './types.js'

/** About the elements that are read at once. */
const BATCH = 1 << 22

/** A row of the result: where its content comes from. */
type Visit = (at: number, source: number, row: number) => void

function eachRow({ runs }: TransplantAnalysis, visit: Visit): void {
  let at = 0
  for (let run = 0; run < runs.length; run += 3)
    for (let i = 0; i < runs[run]!; i++, at++)
      visit(at, runs[run + 1]!, runs[run + 2]! + (runs[run + 1] === FILLED ? 0 : i))
}

/** A tensor of the result, as float32. */
export async function grownTensor(
  analysis: TransplantAnalysis,
  found: FoundArrays,
  { tensor }: { readonly tensor: string },
  { reader, team }: Workshop,
): Promise<Float32Array> {
  const own = analysis.grown.find(({ tensor: { name } }) => name === tensor)!
  const { shape } = own.tensor
  const width = elements(shape.slice(1))
  const values = sharedFloats(analysis.rows * width)
  const rows = batches(reader, own, width)
  const places: number[] = []
  const sources: number[] = []
  const filled: number[] = []
  const made: number[] = []
  eachRow(analysis, (at, source, row) => {
    if (source === COPIED) {
      places.push(at)
      sources.push(row)
    } else if (source === MADE) made.push(at)
    else filled.push(at)
  })
  await rows.each(sources, (place, row) => values.set(row, places[place]! * width))
  await team.pause()
  const { missing, pieces = [] } = analysis
  // A token without pieces gets the mean.
  const averaged =
    missing === 'mean' ? [...filled, ...made] : [...filled, ...made.filter((_, i) => pieces[i]?.length === 0)]
  if (averaged.length > 0) {
    const mean = await meanRow(rows, shape[0]!, width)
    for (const at of averaged) values.set(mean, at * width)
  }
  if (missing === 'subword') await addPieces(analysis, own, rows, width, (i) => made[i]!, values)
  if (missing === 'omp' || missing === 'nearest') await combine(analysis, own, found, values, width, made, team)
  return values
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
  placeOf: (token: number) => number,
  values: Float32Array,
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
    if (place < count - 1) return
    const to = placeOf(token) * width
    for (let i = 0; i < width; i++) values[to + i] = sums[i]! / total
  })
}

/** Sums of shared rows, which are copied already, in the order in which they were chosen. */
async function combine(
  { shared, runs }: TransplantAnalysis,
  { part }: GrownTensor,
  found: FoundArrays,
  values: Float32Array,
  width: number,
  made: readonly number[],
  team: Workshop['team'],
): Promise<void> {
  if (runs.length === 0 || made.length === 0) return
  const atoms = found[`${part}/atoms`] as Int32Array
  const weights = found[`${part}/weights`] as Float64Array
  const most = atoms.length / made.length
  const sums = new Float64Array(width)
  for (const [token, at] of made.entries()) {
    sums.fill(0)
    for (let i = token * most; i < (token + 1) * most && atoms[i]! >= 0; i++) {
      // The row of a token is at the donor's row in the result.
      const from = shared.donor[atoms[i]!]! * width
      const weight = weights[i]!
      for (let column = 0; column < width; column++) sums[column] = sums[column]! + weight * values[from + column]!
    }
    values.set(sums, at * width)
    if (token % 256 === 255) await team.pause()
  }
}
