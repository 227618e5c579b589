/** Approximates rows of a tensor by other rows of it. */
import type { AnalysisTensor } from '../../expr/types.js'
import { byRows, type Operand, sharedInts } from '../../kernels/linalg.js'
import type { Dictionary, Gram, PursuitMethod } from '../../kernels/pursuit/index.js'
import { sharedFloats } from '../../rebasin/team/team.js'
import type { Workshop } from '../analysis.js'
import { rowReader } from '../shared/rowReader.js'

/** Rows that are approximated at once, at most. */
const BATCH = 512
/** Rows of products that are computed at once. */
const BAND = 1024
/** In numbers: arrays of products. */
const LARGEST = 1 << 28

export interface Wanted {
  readonly tensor: AnalysisTensor
  /** Rows that are combined, ascending. */
  readonly shared: Int32Array
  /** Rows to approximate. */
  readonly made: Int32Array
  readonly k: number
  readonly method: PursuitMethod
  readonly tell: (text: string, share: number) => void
}

export interface Approximated {
  /** By row, `most` places each: indices into `shared`, and -1 for places that are not used. */
  readonly atoms: Int32Array
  readonly weights: Float64Array
  readonly residuals: Float64Array
}

const doubles = (length: number): Float64Array => new Float64Array(new SharedArrayBuffer(8 * length))

export async function approximate(workshop: Workshop, wanted: Wanted): Promise<Approximated> {
  const { tensor, shared, made, method, tell } = wanted
  const [, width] = tensor.shape as [number, number]
  const { team } = workshop
  const read = rowReader(workshop.reader, tensor, width)
  const rows = sharedFloats(shared.length * width)
  tell('reading rows', 0)
  await read(shared, rows)
  const dictionary: Dictionary = { rows, count: shared.length, width, squares: squaresOf(rows, shared.length, width) }
  const k = Math.min(wanted.k, shared.length, method === 'omp' ? width : shared.length)
  // The work on pairs of shared rows, and on pairs of a shared and a missing row.
  const [pairs, others] = [method === 'omp' ? shared.length / 2 : 0, made.length]
  const share = (part: number): number => part / Math.max(1, pairs + others)
  const gram =
    method === 'omp'
      ? await gramOf(workshop, dictionary, (done) => tell('products of shared rows', share(done * pairs)))
      : undefined
  const results = {
    atoms: sharedInts(made.length * k),
    weights: doubles(made.length * k),
    residuals: doubles(made.length),
  }
  const most = Math.min(BATCH, made.length)
  const targets = sharedFloats(most * width)
  const products = sharedFloats(most * shared.length)
  const y = byRows(rows, shared.length, width)
  for (let from = 0; from < made.length; from += BATCH) {
    const tokens = Math.min(BATCH, made.length - from)
    await read(made.subarray(from, from + tokens), targets.subarray(0, tokens * width))
    products.fill(0)
    await team.addProduct({ c: products, at: 0, stride: shared.length, x: byRows(targets, tokens, width), y })
    await team.pursue({
      ...{ method, dictionary, targets, products, tokens, k, next: sharedInts(1) },
      ...(gram ? { gram } : {}),
      atoms: results.atoms.subarray(from * k, (from + tokens) * k),
      weights: results.weights.subarray(from * k, (from + tokens) * k),
      residuals: results.residuals.subarray(from, from + tokens),
    })
    await team.pause()
    tell('rows of missing tokens', share(pairs + from + tokens))
  }
  return results
}

/** Squared norms; NaN for rows that are not finite. */
function squaresOf(rows: Float32Array, count: number, width: number): Float64Array {
  const squares = doubles(count)
  for (let row = 0; row < count; row++) {
    let sum = 0
    for (let at = row * width; at < (row + 1) * width; at++) sum += rows[at]! * rows[at]!
    squares[row] = Number.isFinite(sum) ? sum : Number.NaN
  }
  return squares
}

/** Products of all pairs of rows: half of them are computed, and mirrored. */
async function gramOf(
  { team }: Workshop,
  { rows, count, width }: Dictionary,
  tell: (share: number) => void,
): Promise<Gram> {
  const bands = Math.max(1, Math.floor(LARGEST / (BAND * count)))
  const perBlock = Math.min(count, bands * BAND)
  const blocks = Array.from({ length: Math.ceil(count / perBlock) }, (_, block) =>
    sharedFloats(Math.min(perBlock, count - block * perBlock) * count),
  )
  const all = byRows(rows, count, width)
  const from = (first: number, last = count): Operand => ({ ...all, units: all.units.subarray(first, last) })
  for (let first = 0; first < count; first += BAND) {
    const last = Math.min(count, first + BAND)
    const c = blocks[Math.floor(first / perBlock)]!
    const at = (first % perBlock) * count + first
    await team.addProduct({ c, at, stride: count, x: from(first, last), y: from(first) })
    mirror(blocks, perBlock, count, first, last)
    await team.pause()
    tell(1 - ((count - last) / count) ** 2)
  }
  return { blocks, perBlock, peaks: peaksOf(blocks, perBlock, count) }
}

/** A square of so many rows and columns is mirrored at once. */
const SQUARE = 64

/** Copies what is right of the diagonal in a band of rows to the rows below. */
function mirror(blocks: readonly Float32Array[], perBlock: number, count: number, first: number, last: number): void {
  const [source, top] = [blocks[Math.floor(first / perBlock)]!, (first % perBlock) * count]
  for (let left = first; left < count; left += SQUARE)
    for (let above = first; above < last; above += SQUARE)
      for (let column = left; column < Math.min(count, left + SQUARE); column++) {
        const target = blocks[Math.floor(column / perBlock)]!
        const to = (column % perBlock) * count
        const end = Math.min(last, above + SQUARE, column)
        for (let row = above; row < end; row++) target[to + row] = source[top + (row - first) * count + column]!
      }
}

/** The largest magnitudes off the diagonal, by row. */
function peaksOf(blocks: readonly Float32Array[], perBlock: number, count: number): Float32Array {
  const peaks = sharedFloats(count)
  for (let row = 0; row < count; row++) {
    const block = blocks[Math.floor(row / perBlock)]!
    const at = (row % perBlock) * count
    let peak = 0
    for (let column = 0; column < count; column++) {
      const size = Math.abs(block[at + column]!)
      if (size > peak && column !== row) peak = size
    }
    peaks[row] = peak
  }
  return peaks
}
