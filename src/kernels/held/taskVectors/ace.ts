/**
 * ace: W = (Σ c_i(Σ_i + ε_i I))(S + 1pᵀ)⁻¹ by Cholesky's factor of S and the formula of Sherman and Morrison for the row p. Stages: the
 * norms of all models, which say whether they are uneven; the sums; the solution.
 */

import { cholesky, solveRight } from '../../dense/cholesky.js'
import { eigenBytes } from '../../dense/eigen.js'
import { ln } from '../../dense/logarithm.js'
import { allocateMatrix, eachPiece, type Matrix, matrixAt, product, transposed } from '../../dense/matrix.js'
import type { Team } from '../../dense/team.js'
import { eachModel, elementBytes, fillWith, firstTriplets, narrowOf, sidesOf, writeTensor } from '../spectrum.js'
import { type HeldRule, type HeldWork, rooms } from '../types.js'

/** Above this the norms are uneven; what part of the singular vectors is then made even. */
const [UNEVEN, SHARE] = [0.3, 0.3]

function places(work: HeldWork) {
  const { rows, columns, weights } = work
  const { short } = sidesOf(work)
  const matrix = 8 * rows * columns
  const room = rooms()
  const norms = room.take(8 * weights.length)
  const means = room.take(8 * columns)
  const row = room.take(8 * columns)
  /** Σ c_i(Σ_i + ε_i I), Σ δ_iΣ_i and Σ δ_i. */
  const sums = [room.take(matrix), room.take(matrix), room.take(matrix)] as const
  const total = room.take(8 * columns * columns)
  const delta = room.take(rows * columns * elementBytes(work))
  const own = room.take(8 * columns * columns + matrix + 8 * short * short + eigenBytes(short) + 8192)
  return { norms, means, row, sums, total, delta, own, bytes: room.total() }
}

export const ace: HeldRule = {
  layout(work) {
    const { rows, columns, weights } = work
    const { delta, own, bytes } = places(work)
    const models = weights.length
    const { short } = sidesOf(work)
    return {
      bytes,
      operations: models * 3 * rows * columns * columns + columns ** 3 / 3 + 4 * rows * columns ** 2 + 8 * short ** 3,
      steps: [...eachModel(work, delta), ...eachModel(work, delta, models), { kind: 'solve', stage: 2 * models }],
      result: delta,
      own,
    }
  },
  solve(team, work, stage, origin) {
    const models = work.weights.length
    if (stage < models) return addNorm(team, work, stage, origin)
    const norms = [...team.f64(origin + places(work).norms, models)]
    // Nobody writes before all have read.
    team.barrier()
    if (stage < 2 * models) return addSums(team, work, stage - models, norms, origin)
    const everywhere = solveAll(team, work, norms, origin)
    if (everywhere !== undefined) fillWith(team, work, origin + places(work).delta, everywhere)
  },
}

/** ‖δ_i‖². */
function addNorm(team: Team, work: HeldWork, model: number, origin: number): void {
  const { rows, columns } = work
  const { norms, delta, means } = places(work)
  const all = elementsAt(team, work, origin + delta)
  const parts = team.f64(origin + means, columns)
  team.each(columns, (column) => {
    let sum = 0
    for (let row = 0; row < rows; row++) sum += all[row * columns + column]! ** 2
    parts[column] = sum
  })
  team.once(() => {
    team.f64(origin + norms, model + 1)[model] = parts.reduce((total, part) => total + part, 0)
  })
}

const elementsAt = (team: Team, work: HeldWork, at: number): Float32Array | Float64Array =>
  narrowOf(work) ? team.f32(at, work.rows * work.columns) : team.f64(at, work.rows * work.columns)

/** Whether the norms that are not 0 differ much. */
function isUneven(norms: readonly number[]): boolean {
  const logs = norms.filter((norm) => norm > 0).map(ln)
  if (logs.length < 2) return false
  const mean = logs.reduce((total, log) => total + log, 0) / logs.length
  const variance = logs.reduce((total, log) => total + (log - mean) * (log - mean), 0) / (logs.length - 1)
  return variance > UNEVEN * mean * mean
}

/** Adds a model to the sums; its column means go. */
function addSums(team: Team, work: HeldWork, model: number, norms: readonly number[], origin: number): void {
  const { rows, columns, options } = work
  const { sums, total, delta: at, means, row } = places(work)
  const n = rows * columns
  const [fits, moved, plain] = sums.map((sum) => matrixAt(origin + sum, rows, columns)) as [Matrix, Matrix, Matrix]
  const all = matrixAt(origin + total, columns, columns)
  if (model === 0)
    for (const { at, rows: height, columns: width } of [fits, moved, plain, all, matrixAt(origin + row, 1, columns)])
      eachPiece(team, height * width, (from, to) => void team.f64(at, height * width).fill(0, from, to))
  const uneven = isUneven(norms)
  const delta = matrixAt(origin + at, rows, columns, narrowOf(work))
  const values = elementsAt(team, work, delta.at)
  const centred = allocateMatrix(team, rows, columns)
  const [clear, mean] = [team.f64(centred.at, n), team.f64(origin + means, columns)]
  team.each(columns, (column) => {
    let sum = 0
    for (let i = column; i < n; i += columns) sum += values[i]!
    mean[column] = sum / rows
    for (let i = column; i < n; i += columns) clear[i] = values[i]! - mean[column]!
  })
  const covariance = allocateMatrix(team, columns, columns)
  product(team, covariance, transposed(centred), centred, { symmetric: true })
  const own = team.f64(covariance.at, columns * columns)
  let trace = 0
  for (let i = 0; i < columns; i++) trace += own[i * (columns + 1)]!
  team.barrier()
  // Its covariance divided by its trace says nothing.
  if (uneven && trace === 0) return
  const scale = uneven ? 1 / trace : 1
  const eps = Number(options.eps) * scale
  const [whole, mass] = [team.f64(all.at, columns * columns), team.f64(origin + row, columns)]
  team.each(columns, (i) => {
    let sum = 0
    for (let j = 0; j < columns; j++) {
      const place = i * columns + j
      own[place]! *= scale
      sum += own[place]!
      whole[place]! += own[place]! + (i === j ? eps : 0)
    }
    // Symmetric: the mean of a column is that of a row.
    mass[i]! += sum / columns
  })
  product(team, fits, centred, covariance, { add: true })
  const [fitted, summed] = [team.f64(fits.at, n), team.f64(plain.at, n)]
  eachPiece(team, n, (from, to) => {
    for (let i = from; i < to; i++) {
      fitted[i]! += eps * clear[i]!
      summed[i]! += values[i]!
    }
  })
  if (uneven) product(team, moved, delta, covariance, { add: true })
}

/** The result, or the number that it is everywhere. */
function solveAll(team: Team, work: HeldWork, norms: readonly number[], origin: number): number | undefined {
  const { rows, columns, scale } = work
  const { sums, total, delta, row } = places(work)
  const n = rows * columns
  const [fits, moved, plain] = sums.map((sum) => matrixAt(origin + sum, rows, columns)) as [Matrix, Matrix, Matrix]
  const all = matrixAt(origin + total, columns, columns)
  if (!norms.every((norm) => Number.isFinite(norm))) return Number.NaN
  const counted = norms.filter((norm) => norm > 0)
  const uneven = isUneven(norms)
  // F − W, before S becomes its factor.
  if (uneven) product(team, moved, plain, all, { add: true, scale: -1 / counted.length })
  const mass = team.f64(origin + row, columns)
  if (uneven) {
    const mean = counted.reduce((sum, norm) => sum + norm, 0) / counted.length
    team.once(() => {
      for (let j = 0; j < columns; j++) mass[j]! /= mean
    })
  }
  // Where all models are left out, nothing changes.
  const nothing = team.f64(all.at, 1)[0] === 0
  team.barrier()
  if (nothing || !cholesky(team, all)) return nothing ? 0 : Number.NaN
  solveRight(team, all, fits)
  solveRight(team, all, matrixAt(origin + row, 1, columns))
  const values = team.f64(fits.at, n)
  const divisor = 1 + mass.reduce((sum, value) => sum + value, 0)
  team.each(rows, (i) => {
    let sum = 0
    for (let j = 0; j < columns; j++) sum += values[i * columns + j]!
    for (let j = 0; j < columns; j++) values[i * columns + j]! -= (sum / divisor) * mass[j]!
  })
  if (uneven) addEven(team, work, fits, moved)
  eachPiece(team, n, (from, to) => {
    for (let i = from; i < to; i++) values[i]! *= scale
  })
  writeTensor(team, work, fits.at, origin + delta)
  return undefined
}

/** W += mean(s) U_k V_kᵀ of F = W + moved. */
function addEven(team: Team, work: HeldWork, w: Matrix, moved: Matrix): void {
  const n = work.rows * work.columns
  const { short, wide } = sidesOf(work)
  const [own, sum] = [team.f64(w.at, n), team.f64(moved.at, n)]
  eachPiece(team, n, (from, to) => {
    for (let i = from; i < to; i++) sum[i]! += own[i]!
  })
  const [to, from] = wide ? [transposed(w), transposed(moved)] : [w, moved]
  const most = Math.max(1, Math.trunc(SHARE * short))
  const triplets = firstTriplets(team, from, ({ length }) => Math.min(length, most))
  if (!triplets || triplets.vectors.rows === 0) return
  const { values, vectors, room } = triplets
  const firsts = values.subarray(0, vectors.rows)
  const mean = firsts.reduce((total, value) => total + value, 0) / most
  // U_k V_kᵀ = F Σ v_r v_rᵀ/s_r.
  const scaled = allocateMatrix(team, vectors.rows, vectors.columns)
  const [given, taken] = [vectors, scaled].map(({ at, rows, columns }) => team.f64(at, rows * columns)) as [
    Float64Array,
    Float64Array,
  ]
  team.each(vectors.rows, (row) => {
    for (let i = row * vectors.columns; i < (row + 1) * vectors.columns; i++) taken[i] = given[i]! / firsts[row]!
  })
  product(team, room, transposed(vectors), scaled)
  product(team, to, from, room, { scale: mean, add: true })
}
