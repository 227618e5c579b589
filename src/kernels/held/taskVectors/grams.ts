/**
 * The change that fits the changes of all models best on their own row spaces: Δ = (Σ f_i δ_i δ_iᵀδ_i)(Σ f_i δ_iᵀδ_i)⁺, f_i = 1
 * or 1/‖δ_i‖² (`normalized`). A model with δ_i = 0 counts for nothing. In float64 but for the δ_i.
 *
 * By the Gram matrix of the columns; of long rows by that of all rows together: with D the matrices √f_i δ_i one below the other
 * and K = DDᵀ, Δ = (Σ_i f_i^(−1/2) K_ii in its place) K⁺ D, the same matrix.
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
import {
  eachModel,
  elementBytes,
  fillModel,
  fillWith,
  narrowOf,
  sidesOf,
  tripletsOf,
  writeTensor,
} from '../spectrum.js'
import { type HeldRule, type HeldWork, rooms } from '../types.js'

/** Whether the rows of all models together are fewer than the columns. */
const byRows = ({ rows, columns, weights }: HeldWork): boolean => rows * weights.length < columns

function places(work: HeldWork) {
  const { rows, columns, weights } = work
  const models = weights.length
  const room = rooms()
  const factors = room.take(8 * models)
  const elements = rows * columns * elementBytes(work)
  if (byRows(work)) {
    const all = models * rows
    const deltas = room.take(models * elements)
    const own = room.take(8 * (all * all + 2 * rows * all + rows * columns) + eigenBytes(all) + 1024)
    return { factors, deltas, products: 0, total: 0, own, bytes: room.total() }
  }
  const { short } = sidesOf(work)
  const deltas = room.take(elements)
  const products = room.take(8 * rows * columns)
  const total = room.take(8 * columns * columns)
  const own = room.take(Math.max(8 * short * short, eigenBytes(columns) + 8 * rows * columns) + 1024)
  return { factors, deltas, products, total, own, bytes: room.total() }
}

const deltaAt = (work: HeldWork, origin: number, model: number): Matrix => {
  const { rows, columns } = work
  const offset = byRows(work) ? model * rows * columns * elementBytes(work) : 0
  return matrixAt(origin + places(work).deltas + offset, rows, columns, narrowOf(work))
}

export const grams: HeldRule = {
  layout(work) {
    const { rows, columns, weights } = work
    const { deltas, own, bytes } = places(work)
    const models = weights.length
    const all = models * rows
    return {
      bytes,
      operations: byRows(work)
        ? all * all * (columns / 2 + 7 * all) + 2 * rows * all * (all + columns)
        : models * rows * columns * (2 * columns) + columns * columns * (7 * columns + 2 * rows),
      steps: [
        ...(byRows(work)
          ? weights.map((_, input) => fillModel(work, input, deltaAt(work, 0, input).at))
          : eachModel(work, deltas)),
        { kind: 'solve', stage: models },
      ],
      result: deltas,
      own,
    }
  },
  solve(team, work, stage, origin) {
    const finite = byRows(work)
      ? solveByRows(team, work, origin)
      : stage < work.weights.length
        ? addModel(team, work, stage, origin)
        : solveByColumns(team, work, origin)
    if (!finite) fillWith(team, work, origin + places(work).deltas, Number.NaN)
  },
}

/** f of a model with ‖δ‖². All threads work out the same. */
const factorOf = ({ options }: HeldWork, square: number): number =>
  square === 0 ? 0 : options.normalized === 1 ? 1 / square : 1

/** The sum of a square matrix's diagonal. */
function trace(team: Team, { at, rows, down }: Matrix): number {
  const all = team.f64(at, (rows - 1) * down + rows)
  let sum = 0
  for (let i = 0; i < rows; i++) sum += all[i * down + i]!
  return sum
}

/** Adds a model's δ G and G. */
function addModel(team: Team, work: HeldWork, model: number, origin: number): boolean {
  const { rows, columns } = work
  const { products, total } = places(work)
  const delta = deltaAt(work, origin, model)
  const [sums, all] = [matrixAt(origin + products, rows, columns), matrixAt(origin + total, columns, columns)]
  if (model === 0)
    for (const { at, rows: n, columns: m } of [sums, all])
      eachPiece(team, n * m, (from, to) => void team.f64(at, n * m).fill(0, from, to))
  const mark = team.mark()
  const wide = rows < columns
  const side = wide ? rows : columns
  const gram = allocateMatrix(team, side, side)
  product(team, gram, wide ? delta : transposed(delta), wide ? transposed(delta) : delta, { symmetric: true })
  const factor = factorOf(work, trace(team, gram))
  if (factor !== 0) {
    const [left, right] = wide ? [gram, delta] : [delta, gram]
    product(team, sums, left, right, { scale: factor, add: true })
    product(team, all, transposed(delta), delta, { scale: factor, add: true, symmetric: true })
  }
  team.barrier()
  team.release(mark)
  return true
}

function solveByColumns(team: Team, work: HeldWork, origin: number): boolean {
  const { rows, columns, scale } = work
  const { products, total } = places(work)
  const triplets = tripletsOf(team, matrixAt(origin + total, columns, columns), (values) => values.length)
  if (!triplets) return false
  const { values, vectors } = triplets
  const out = deltaAt(work, origin, 0)
  if (values.length === 0) fillWith(team, work, out.at, 0)
  else {
    const images = allocateMatrix(team, rows, values.length)
    product(team, images, matrixAt(origin + products, rows, columns), transposed(vectors))
    scaleRows(
      team,
      vectors,
      values.map((value) => 1 / (value * value)),
    )
    product(team, out, images, vectors, { scale })
  }
  return true
}

function solveByRows(team: Team, work: HeldWork, origin: number): boolean {
  const { rows, columns, weights, scale } = work
  const models = weights.length
  const all = models * rows
  const deltas = matrixAt(origin + places(work).deltas, all, columns, narrowOf(work))
  const kernel = allocateMatrix(team, all, all)
  product(team, kernel, deltas, transposed(deltas), { symmetric: true })
  const block = (model: number) => part(kernel, model * rows, model * rows, rows, rows)
  const factors = weights.map((_, model) => factorOf(work, trace(team, block(model))))
  const roots = factors.map((factor) => Math.sqrt(factor))
  // Nobody changes the products before all have read them.
  team.barrier()
  const own = allocateMatrix(team, rows, all)
  const [values, kept] = [team.f64(kernel.at, all * all), team.f64(own.at, rows * all)]
  team.each(all, (i) => {
    const model = Math.floor(i / rows)
    for (let j = 0; j < all; j++) {
      const other = Math.floor(j / rows)
      if (other === model) kept[(i % rows) * all + j] = roots[model]! * values[i * all + j]!
      values[i * all + j]! *= roots[model]! * roots[other]!
    }
  })
  const triplets = tripletsOf(team, kernel, (found) => found.length)
  if (!triplets) return false
  const { values: found, vectors } = triplets
  if (found.length === 0) {
    fillWith(team, work, deltas.at, 0)
    return true
  }
  const images = allocateMatrix(team, rows, found.length)
  product(team, images, own, transposed(vectors))
  scaleRows(
    team,
    vectors,
    found.map((value) => 1 / (value * value)),
  )
  product(team, own, images, vectors, { scale })
  team.each(rows, (i) => {
    for (let j = 0; j < all; j++) kept[i * all + j]! *= roots[Math.floor(j / rows)]!
  })
  const out = allocateMatrix(team, rows, columns)
  product(team, out, own, deltas)
  writeTensor(team, work, out.at, deltas.at)
  return true
}
