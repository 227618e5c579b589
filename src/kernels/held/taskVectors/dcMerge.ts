/**
 * dc_merge: the first triplets of each δ_i with smoothed singular values, in the polar factors Û, V̂ of all vectors together:
 * M_i = Ûᵀ(U_i S_i V_iᵀ)V̂. Of each M_i the largest elements; the mean of those with the elected sign; only the blocks in which a
 * model meets itself; and back: λ · Û t V̂ᵀ. With H_U = (UᵀU)^½, M_i = H_U[:, i] S_i H_V[i, :], so that no Û is needed.
 */
import { eigenBytes } from '../../dense/eigen.js'
import {
  allocateMatrix,
  eachPiece,
  type Matrix,
  matrixAt,
  part,
  product,
  scaleRows,
  transposed,
} from '../../dense/matrix.js'
import type { Team } from '../../dense/team.js'
import { eachModel, elementBytes, fillWith, sidesOf, tall, tripletsOf } from '../spectrum.js'
import { push, stacked, stackPlaces } from '../tsvM.js'
import { type HeldRule, type HeldWork, rooms } from '../types.js'

function places(work: HeldWork) {
  const { short, long } = sidesOf(work)
  const models = work.weights.length
  const most = models * Number(work.options.rank)
  const room = rooms()
  const stack = stackPlaces(room, most, short, long, models)
  const delta = room.take(short * long * elementBytes(work))
  // Three k × k matrices and their eigenvectors; M_i, its magnitudes and the blocks; the way back.
  const finish = 8 * (5 * most * most + most * short) + 2 * eigenBytes(most) + 4096
  const own = room.take(Math.max(8 * short * short + eigenBytes(short), finish))
  return { stack, delta, own, total: room.total() }
}

export const dcMerge: HeldRule = {
  layout(work) {
    const { short, long } = sidesOf(work)
    const models = work.weights.length
    const most = models * Number(work.options.rank)
    const { delta, own, total } = places(work)
    return {
      bytes: total,
      operations:
        models * short * short * (long + 6 * short) + most * most * (3 * (short + long) + (20 + models) * most),
      steps: [...eachModel(work, delta), { kind: 'solve', stage: models }],
      result: delta,
      own,
    }
  },
  solve(team, work, stage, origin) {
    const { delta, stack } = places(work)
    const models = work.weights.length
    const matrix = tall(work, origin + delta)
    const counts = team.f64(origin + stack.counts, models)
    if (stage < models) {
      if (!push(team, stack, origin, stage, matrix, 1, Number(work.options.rank)))
        team.once(() => void counts.fill(Number.NaN, stage, stage + 1))
      return
    }
    const k = stacked(team, stack, origin, models)
    if (!(k > 0)) return fillWith(team, work, matrix.at, Number.isNaN(k) ? Number.NaN : 0)
    const starts = Array.from({ length: models + 1 }, (_, model) => stacked(team, stack, origin, model))
    const values = smoothed(work, team.f64(origin + stack.values, k), starts)
    const longer = matrixAt(origin + stack.longer, k, matrix.rows)
    const shorter = matrixAt(origin + stack.shorter, k, matrix.columns)
    const [left, right] = [rootsOf(team, longer), rootsOf(team, shorter)] as const
    const middle = merged(team, work, left.root, right.root, values, starts)
    const both = allocateMatrix(team, k, k)
    product(team, both, left.inverse, middle)
    product(team, middle, both, right.inverse, { scale: work.scale })
    const back = allocateMatrix(team, k, matrix.columns)
    product(team, back, middle, shorter)
    product(team, matrix, transposed(longer), back)
  },
}

/** The square root of a Gram matrix of rows and its inverse, on its range. */
function rootsOf(team: Team, vectors: Matrix): { root: Matrix; inverse: Matrix } {
  const k = vectors.rows
  const inverse = allocateMatrix(team, k, k)
  const root = allocateMatrix(team, k, k)
  product(team, root, vectors, transposed(vectors), { symmetric: true })
  const mark = team.mark()
  const triplets = tripletsOf(team, root, (values) => values.length)
  if (!triplets) throw new Error('internal: singular vectors with NaN')
  const { values, vectors: basis } = triplets
  const project = (out: Matrix, factors: Float64Array) => {
    scaleRows(team, basis, factors)
    product(team, out, transposed(basis), basis, { symmetric: true })
  }
  project(
    root,
    values.map((value) => Math.sqrt(value)),
  )
  // The rows carry √σ by now.
  project(
    inverse,
    values.map((value) => 1 / value),
  )
  team.release(mark)
  return { root, inverse }
}

/** Singular values of each model, none of them below what their mean or a line allows; their sum stays. */
function smoothed(work: HeldWork, values: Float64Array, starts: readonly number[]): Float64Array {
  const { smoothing, rho } = work.options
  const out = Float64Array.from(values)
  for (let model = 0; model + 1 < starts.length; model++) {
    const own = out.subarray(starts[model]!, starts[model + 1]!)
    if (smoothing === 'none' || own.length === 0) continue
    const top = smoothing === 'average' ? 1 : Math.min(Number(rho), own[0]! / own[own.length - 1]!)
    const line = own.map((_, i) => (own.length === 1 ? 1 : top + ((1 - top) * i) / (own.length - 1)))
    const sum = (all: Float64Array) => all.reduce((total, value) => total + value, 0)
    const scale = sum(own) / sum(line)
    own.set(line.map((value) => value * scale))
  }
  return out
}

/** The merged t, k × k, with zeros outside of the blocks. */
function merged(
  team: Team,
  work: HeldWork,
  left: Matrix,
  right: Matrix,
  values: Float64Array,
  starts: readonly number[],
): Matrix {
  const models = starts.length - 1
  const k = left.rows
  const t = allocateMatrix(team, k, k)
  const mark = team.mark()
  const sizes = starts.slice(1).map((end, model) => (end - starts[model]!) ** 2)
  const blockStarts = sizes.map((_, block) => sizes.slice(0, block).reduce((total, size) => total + size, 0))
  const inBlocks = sizes.reduce((total, size) => total + size, 0)
  const kept = team.f64(team.allocate(8 * models * inBlocks), models * inBlocks)
  for (let model = 0; model < models; model++) {
    const inner = team.mark()
    const [start, count] = [starts[model]!, starts[model + 1]! - starts[model]!]
    const one = allocateMatrix(team, k, k)
    const scaled = allocateMatrix(team, count, k)
    const [from, to] = [team.f64(right.at, k * k), team.f64(scaled.at, count * k)]
    team.each(count, (row) => {
      for (let j = 0; j < k; j++) to[row * k + j] = values[start + row]! * from[(start + row) * k + j]!
    })
    product(team, one, part(left, 0, start, k, count), scaled)
    const all = team.f64(one.at, k * k)
    const least = thresholdOf(team, all, Number(work.options.kept))
    team.each(k, (row) => {
      const block = blockOf(starts, row)
      const [first, side] = [starts[block]!, starts[block + 1]! - starts[block]!]
      const out = model * inBlocks + blockStarts[block]! + (row - first) * side
      for (let j = 0; j < side; j++) {
        const value = all[row * k + first + j]!
        kept[out + j] = Math.abs(value) >= least ? value : 0
      }
    })
    team.release(inner)
  }
  const out = team.f64(t.at, k * k)
  team.each(k, (row) => {
    const block = blockOf(starts, row)
    const [first, side] = [starts[block]!, starts[block + 1]! - starts[block]!]
    out.fill(0, row * k, (row + 1) * k)
    for (let j = 0; j < side; j++) {
      const at = blockStarts[block]! + (row - first) * side + j
      out[row * k + first + j] = elected(kept, at, inBlocks, models)
    }
  })
  team.release(mark)
  return t
}

/** The mean of what has the sign of the sum: 0 where the sum is. */
function elected(kept: Float64Array, at: number, stride: number, models: number): number {
  let votes = 0
  for (let model = 0; model < models; model++) votes += kept[at + model * stride]!
  let [total, count] = [0, 0]
  for (let model = 0; model < models; model++) {
    const value = kept[at + model * stride]!
    if (value * votes <= 0) continue
    total += value
    count++
  }
  return count === 0 ? 0 : total / count
}

const blockOf = (starts: readonly number[], row: number): number => starts.findIndex((start) => start > row) - 1

/** The count-th largest magnitude; 0 where all are to be kept. One thread sorts: equal numbers are alike. */
function thresholdOf(team: Team, values: Float64Array, count: number): number {
  if (count >= values.length) return 0
  const mark = team.mark()
  const sorted = team.f64(team.allocate(8 * values.length), values.length)
  eachPiece(team, values.length, (from, to) => {
    for (let i = from; i < to; i++) sorted[i] = Math.abs(values[i]!)
  })
  team.once(() => void sorted.sort())
  const least = sorted[values.length - count]!
  team.barrier()
  team.release(mark)
  return least
}
