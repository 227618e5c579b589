/**
 * What is left of a weight without the part that an adapter starts from.
 *
 * pissa: W − the first `rank` singular triplets of W, the best approximation of that rank, by the Gram matrix of the shorter
 * side. olora: W − scale · Q Qᵀ W with Q orthonormal columns that span the first `rank` columns of W, as in its QR
 * decomposition. In float64 but for W itself, which the result replaces in its place.
 */
import { eigenBytes } from '../dense/eigen.js'
import { allocateMatrix, eachPiece, type Matrix, matrixAt, product, transposed } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'
import { orthonormalize, orthonormalizeBytes } from './orthonormal.js'
import { elementBytes, fillWith, firstTriplets, narrowOf, sidesOf, tall } from './spectrum.js'
import { type HeldRule, type HeldWork, rooms } from './types.js'

/** Singular values that differ by less than this part of the largest do not tell their vectors apart in float32. */
const APART = 1e-5

const rankOf = ({ options }: HeldWork): number => Number(options.rank)

function places(work: HeldWork) {
  const { rows, columns, kernel } = work
  const { short, long } = sidesOf(work)
  const rank = rankOf(work)
  const room = rooms()
  const weight = room.take(rows * columns * elementBytes(work))
  const own = room.take(
    kernel === 'pissa'
      ? 8 * short * short + eigenBytes(short) + 8 * rank * (short + long)
      : 8 * rank * (rows + columns) + orthonormalizeBytes(rank, rows),
  )
  return { weight, own, total: room.total() }
}

const rule = (
  operations: (work: HeldWork) => number,
  solve: (team: Team, work: HeldWork, weight: Matrix) => string | undefined,
): HeldRule => ({
  layout(work) {
    const { weight, own, total } = places(work)
    const elements = work.rows * work.columns
    const terms = [{ input: 0, factor: 1 }]
    return {
      bytes: total,
      operations: operations(work),
      steps: [
        { kind: 'fill', terms, onBase: false, elements, at: weight, narrow: narrowOf(work) },
        { kind: 'solve', stage: 0 },
      ],
      result: weight,
      own,
    }
  },
  solve: (team, work, _, origin) =>
    solve(team, work, matrixAt(origin + places(work).weight, work.rows, work.columns, narrowOf(work))),
})

export const pissa = rule(
  (work) => {
    const { short, long } = sidesOf(work)
    return short * short * (long + 7 * short) + 4 * rankOf(work) * short * long
  },
  (team, work, weight) => {
    const matrix = tall(work, weight.at)
    const rank = rankOf(work)
    const triplets = firstTriplets(team, matrix, (values) => Math.min(rank, values.length))
    if (!triplets) {
      fillWith(team, work, weight.at, Number.NaN)
      return undefined
    }
    const { values, vectors } = triplets
    const images = allocateMatrix(team, matrix.rows, vectors.rows)
    product(team, images, matrix, transposed(vectors))
    product(team, matrix, images, vectors, { scale: -1, add: true })
    const [last = 0, next = 0] = [values[rank - 1], values[rank]]
    return next > 0 && last - next < APART * values[0]!
      ? `PiSSA: singular values ${rank} and ${rank + 1} are so close that their vectors are not certain`
      : undefined
  },
)

export const olora = rule(
  ({ rows, columns, ...work }) => 2 * rows * columns * Number(work.options.rank) * 2,
  (team, work, weight) => {
    const rank = rankOf(work)
    const { rows, columns } = work
    const basis = allocateMatrix(team, rank, rows)
    const all = narrowOf(work) ? team.f32(weight.at, rows * columns) : team.f64(weight.at, rows * columns)
    const to = team.f64(basis.at, rank * rows)
    eachPiece(team, rank * rows, (from, end) => {
      for (let i = from; i < end; i++) to[i] = all[(i % rows) * columns + Math.floor(i / rows)]!
    })
    team.barrier()
    const kept = orthonormalize(team, basis)
    const space = matrixAt(basis.at, kept, rows)
    const image = allocateMatrix(team, kept, columns)
    product(team, image, space, weight)
    product(team, weight, transposed(space), image, { scale: -work.scale, add: true })
    return kept < rank
      ? `OLoRA: the first ${rank} columns depend on each other, so that their orthonormal basis is not certain`
      : undefined
  },
)
