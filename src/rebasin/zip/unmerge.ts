/**
 * Least squares (PLeaS, arXiv 2407.02447, in closed form): what a layer read from a unit of its model is not copied from the
 * merged unit, but is the linear combination of all merged units that fits best on the samples.
 */
import { sharedFloats } from '../../core/collections/sharedArrays.js'
import type { ThreadTeam } from '../team/team.js'
import type { Weights } from '../weights.js'
import { addMapped } from './combine.js'
import { countsOf, firstUnit, type ZipNetwork } from './network.js'
import { BLOCK, type Measurement, unitPlaces } from './similarities.js'

/** As a share of the mean square of the merged units: how much U is drawn to copies. Few samples have many solutions. */
const RIDGE = 1e-3

/**
 * By model: U [units, width] that minimises Σ |x - U z|² + λ |U - C|² over samples, x: the model's units, z: the merged units,
 * which are means, and C z the copies of merged units. Where nothing is merged, U is C. `inputs`: what the layer reads, one tensor [samples, places] per model. Undefined if all z are 0.
 */
export async function leastSquares(
  network: ZipNetwork,
  assigned: Int32Array,
  { tensor, group, before, after }: Measurement,
  inputs: readonly Weights[],
  team: ThreadTeam,
): Promise<Float32Array[] | undefined> {
  const own = network.groups[group]!
  const { width, sizes } = own
  const counts = countsOf(assigned, width)
  const samples = inputs[0]!.source.tensors.get(tensor)!.shape[0]!
  const gram = new Float64Array(width * width)
  const cross = sizes.map((size) => new Float64Array(width * size))
  const places = before * width * after
  const z = sharedFloats(BLOCK * places)
  const merged = unitPlaces({ before, after }, width, 1)
  for (let first = 0; first < samples; first += BLOCK) {
    const count = Math.min(BLOCK, samples - first)
    const rows = Int32Array.from({ length: count }, (_, i) => first + i)
    const read = await Promise.all(inputs.map((weights) => weights.rows(tensor, rows)))
    z.fill(0)
    for (const [model, { data, starts }] of read.entries()) {
      const size = sizes[model]!
      const start = firstUnit(own, model)
      const to = Int32Array.from({ length: size }, (_, i) => assigned[start + i]!)
      const scale = Float64Array.from({ length: size }, (_, i) => 1 / counts[assigned[start + i]!]!)
      const maps = [undefined, undefined, { to, scale, length: width }, undefined]
      for (const [i, at] of starts.entries())
        addMapped(
          z.subarray(i * places, (i + 1) * places),
          [1, before, width, after],
          data.subarray(at, at + before * size * after),
          [1, before, size, after],
          maps,
        )
    }
    const rests = (others: Int32Array, at: (row: number) => number) => {
      const all = new Int32Array(count * others.length)
      for (let i = 0; i < count; i++)
        for (const [k, other] of others.entries()) all[i * others.length + k] = at(i) + other
      return all
    }
    const x = { data: z, units: merged.units, rests: rests(merged.others, (i) => i * places) }
    await add(gram, x, x, team)
    for (const [model, { data, starts }] of read.entries()) {
      const { units, others } = unitPlaces({ before, after }, sizes[model]!, 1)
      await add(cross[model]!, x, { data, units, rests: rests(others, (i) => starts[i]!) }, team)
    }
    for (const { release } of read) release()
    await team.pause()
  }
  // From here on: what copies leave over.
  for (const [model, size] of sizes.entries()) {
    const start = firstUnit(own, model)
    const left = cross[model]!
    for (let k = 0; k < width; k++)
      for (let i = 0; i < size; i++) left[k * size + i] = left[k * size + i]! - gram[k * width + assigned[start + i]!]!
  }
  let trace = 0
  for (let i = 0; i < width; i++) trace += gram[i * width + i]!
  if (!(trace > 0) || !Number.isFinite(trace)) return undefined
  for (let i = 0; i < width; i++) gram[i * width + i] = gram[i * width + i]! + (RIDGE * trace) / width
  await factor(gram, width, team)
  const solved: Float32Array[] = []
  for (const [model, size] of sizes.entries()) {
    const turned = await solve(gram, cross[model]!, width, size, team)
    const start = firstUnit(own, model)
    const fitted = new Float32Array(size * width)
    for (let i = 0; i < size; i++)
      for (let k = 0; k < width; k++)
        fitted[i * width + k] = turned[k * size + i]! + (k === assigned[start + i] ? 1 : 0)
    solved.push(fitted)
  }
  return solved
}

type Operand = Parameters<ThreadTeam['addProduct']>[0]['x']

/** Blocks are products in float32; their sum is in float64. */
async function add(sum: Float64Array, x: Operand, y: Operand, team: ThreadTeam): Promise<void> {
  const c = sharedFloats(sum.length)
  await team.addProduct({ c, at: 0, stride: y.units.length, x, y })
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + c[i]!
}

/** Rows between two turns of the event loop. */
const TURN = 64

/** The lower Cholesky factor of a positive definite matrix, in place. */
async function factor(a: Float64Array, n: number, team: ThreadTeam): Promise<void> {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let value = a[i * n + j]!
      for (let k = 0; k < j; k++) value -= a[i * n + k]! * a[j * n + k]!
      a[i * n + j] = i === j ? Math.sqrt(value) : value / a[j * n + j]!
    }
    if (i % TURN === 0) await team.pause()
  }
}

/** L Lᵀ X = B for a matrix B [n, columns], in place. */
async function solve(
  l: Float64Array,
  b: Float64Array,
  n: number,
  columns: number,
  team: ThreadTeam,
): Promise<Float64Array> {
  const subtract = (to: number, from: number, factor: number) => {
    for (let c = 0; c < columns; c++) b[to * columns + c] = b[to * columns + c]! - factor * b[from * columns + c]!
  }
  const divide = (row: number, by: number) => {
    for (let c = 0; c < columns; c++) b[row * columns + c] = b[row * columns + c]! / by
  }
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) subtract(i, k, l[i * n + k]!)
    divide(i, l[i * n + i]!)
    if (i % TURN === 0) await team.pause()
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) subtract(i, k, l[k * n + i]!)
    divide(i, l[i * n + i]!)
    if (i % TURN === 0) await team.pause()
  }
  return b
}
