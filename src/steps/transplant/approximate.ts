/** Approximates rows of a tensor by other rows of it. */
import { sharedDoubles, sharedFloats, sharedInts } from '../../core/collections/sharedArrays.js'
import { byRows } from '../../kernels/linalg.js'
import type { NearestMethod } from '../../kernels/pursuit/index.js'
import type { Workshop } from '../analysis.js'
import { type ReadRows, rowReader } from '../shared/rowReader.js'
import { pursue } from './pursuit.js'
import { type Approximated, roomFor, type Wanted } from './wanted.js'

/** Rows that are approximated at once, at most. */
const BATCH = 512

export function approximate(workshop: Workshop, wanted: Wanted): Promise<Approximated> {
  const { tensor, method } = wanted
  const read = rowReader(workshop.reader, tensor, tensor.shape[1]!)
  return method === 'omp' ? pursue(workshop, wanted, read) : nearest(workshop, wanted, method, read)
}

async function nearest(
  { team }: Workshop,
  wanted: Wanted,
  method: NearestMethod,
  read: ReadRows,
): Promise<Approximated> {
  const { tensor, shared, made, tell } = wanted
  const [, width] = tensor.shape as [number, number]
  const rows = sharedFloats(shared.length * width)
  tell('reading rows', 0)
  await read(shared, rows)
  const dictionary = { rows, count: shared.length, width, squares: squaresOf(rows, shared.length, width) }
  const k = Math.min(wanted.k, shared.length)
  const results = roomFor(made.length, k)
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
      atoms: results.atoms.subarray(from * k, (from + tokens) * k),
      weights: results.weights.subarray(from * k, (from + tokens) * k),
      residuals: results.residuals.subarray(from, from + tokens),
    })
    await team.pause()
    tell('rows of missing tokens', (from + tokens) / made.length)
  }
  return results
}

/** Squared norms; NaN for rows that are not finite. */
function squaresOf(rows: Float32Array, count: number, width: number): Float64Array {
  const squares = sharedDoubles(count)
  for (let row = 0; row < count; row++) {
    let sum = 0
    for (let at = row * width; at < (row + 1) * width; at++) sum += rows[at]! * rows[at]!
    squares[row] = Number.isFinite(sum) ? sum : Number.NaN
  }
  return squares
}
