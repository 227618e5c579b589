/**
 * knots: [δ_1 … δ_n] = U S [V_1 … V_n]ᵀ; the factors S V_iᵀ = Uᵀδ_i are merged as ties merges task vectors, and multiplied by U.
 * By the eigenvectors of Σ δ_iδ_iᵀ, or of the Gram matrix of [δ_1 … δ_n] where that is smaller.
 */
import { eigenBytes } from '../dense/eigen.js'
import {
  allocateMatrix,
  eachPiece,
  type Matrix,
  matrixAt,
  part,
  product,
  scaleRows,
  transposed,
} from '../dense/matrix.js'
import type { Team } from '../dense/team.js'
import { elementBytes, fillWith, narrowOf, tripletsOf } from './spectrum.js'
import { mergeTrimmed } from './trimmed.js'
import { type HeldRule, type HeldWork, rooms } from './types.js'

/** The rows' side, or that of all columns together. */
const byColumns = ({ rows, columns, weights }: HeldWork): boolean => rows > weights.length * columns
const sideOf = (work: HeldWork): number => Math.min(work.rows, work.weights.length * work.columns)

function places(work: HeldWork) {
  const { rows, columns, weights } = work
  const side = sideOf(work)
  const room = rooms()
  const each = () => weights.map(() => room.take(rows * columns * elementBytes(work)))
  const deltas = each()
  const factors = each()
  const thresholds = room.take(16 * weights.length)
  const back = byColumns(work) ? 8 * columns * (rows + side + columns) : 0
  const own = room.take(8 * side * side + eigenBytes(side) + back)
  return { deltas, factors, thresholds, own, total: room.total() }
}

/** Uᵀδ_i to the factors, and a function that multiplies what becomes of them by U. Undefined where an element is not a finite number. */
function decompose(
  team: Team,
  work: HeldWork,
  deltas: readonly Matrix[],
  factorAt: (index: number, rank: number) => Matrix,
): { rank: number; back: (merged: Matrix, out: Matrix) => void } | undefined {
  const { columns } = work
  const gram = allocateMatrix(team, sideOf(work), sideOf(work))
  if (!byColumns(work)) {
    for (const [index, delta] of deltas.entries())
      product(team, gram, delta, transposed(delta), { symmetric: true, add: index > 0 })
    const triplets = tripletsOf(team, gram, (values) => values.length)
    if (!triplets) return undefined
    const { vectors } = triplets
    for (const [index, delta] of deltas.entries()) product(team, factorAt(index, vectors.rows), vectors, delta)
    return {
      rank: vectors.rows,
      back: (merged, out) => product(team, out, transposed(vectors), merged, { scale: work.scale }),
    }
  }
  for (const [i, one] of deltas.entries())
    for (const [j, other] of deltas.entries())
      product(team, part(gram, i * columns, j * columns, columns, columns), transposed(one), other)
  const triplets = tripletsOf(team, gram, (values) => values.length)
  if (!triplets) return undefined
  const { values, vectors } = triplets
  const rank = vectors.rows
  for (const index of deltas.keys()) {
    const out = factorAt(index, rank)
    const to = out.narrow ? team.f32(out.at, rank * columns) : team.f64(out.at, rank * columns)
    team.each(rank, (row) => {
      const from = team.f64(vectors.at + 8 * (row * vectors.columns + index * columns), columns)
      for (let j = 0; j < columns; j++) to[row * columns + j] = values[row]! * from[j]!
    })
  }
  return {
    rank,
    back(merged, out) {
      // U = [δ_1 … δ_n] V S⁻¹.
      const sum = allocateMatrix(team, work.rows, columns)
      const divided = allocateMatrix(team, rank, columns)
      const turned = allocateMatrix(team, columns, columns)
      const elements = team.f64(divided.at, rank * columns)
      const from = merged.narrow ? team.f32(merged.at, rank * columns) : team.f64(merged.at, rank * columns)
      eachPiece(team, elements.length, (first, end) => elements.set(from.subarray(first, end), first))
      scaleRows(
        team,
        divided,
        values.map((value) => work.scale / value),
      )
      for (const [index, delta] of deltas.entries()) {
        product(team, turned, transposed(part(vectors, 0, index * columns, rank, columns)), divided)
        product(team, sum, delta, turned, { add: index > 0 })
      }
      const all = team.f64(sum.at, work.rows * columns)
      const to = out.narrow ? team.f32(out.at, all.length) : team.f64(out.at, all.length)
      eachPiece(team, all.length, (first, end) => to.set(all.subarray(first, end), first))
    },
  }
}

export const knots: HeldRule = {
  layout(work) {
    const { rows, columns, weights } = work
    const { deltas, own, total } = places(work)
    const side = sideOf(work)
    const elements = rows * columns
    return {
      bytes: total,
      operations: weights.length * 3 * side * elements + 10 * side ** 3 + 2 * side * elements,
      steps: [
        ...weights.map((_, input) => ({
          kind: 'fill' as const,
          terms: [{ input, factor: 1 }],
          onBase: true,
          elements,
          at: deltas[input]!,
          narrow: narrowOf(work),
        })),
        { kind: 'solve', stage: 0 },
      ],
      result: deltas[0]!,
      own,
    }
  },
  solve(team, work, _, origin) {
    const { rows, columns, weights } = work
    const { deltas, factors, thresholds } = places(work)
    const narrow = narrowOf(work)
    const matrices = deltas.map((at) => matrixAt(origin + at, rows, columns, narrow))
    const factorAt = (index: number, rank: number) => matrixAt(origin + factors[index]!, rank, columns, narrow)
    const decomposed = decompose(team, work, matrices, factorAt)
    if (!decomposed) return fillWith(team, work, origin + deltas[0]!, Number.NaN)
    const { rank, back } = decomposed
    const parts = weights.map((_, index) => {
      const { at } = factorAt(index, rank)
      return narrow ? team.f32(at, rank * columns) : team.f64(at, rank * columns)
    })
    const densities = work.options.density as readonly number[]
    mergeTrimmed(team, parts, weights, densities, origin + thresholds)
    back(factorAt(0, rank), matrices[0]!)
  },
}
