/**
 * hra: a weight [rows, columns] times Householder reflections H_1 … H_r, H_i = I − 2 u_i u_iᵀ for the columns u_i of U [columns,
 * rank], made unit vectors: as I − Vᵀ T V with V the vectors in rows and T an upper triangle. `orthonormal`: the vectors are made
 * orthonormal before, and T is 2 I. In float64 but for W itself, which the result replaces in its place.
 */
import { allocateMatrix, eachPiece, matrixAt, product, scaleRows, transposed } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'
import { orthonormalize, orthonormalizeBytes } from './orthonormal.js'
import { elementBytes, narrowOf } from './spectrum.js'
import { type HeldRule, type HeldWork, rooms } from './types.js'

const rankOf = ({ options }: HeldWork): number => Number(options.rank)

function places(work: HeldWork) {
  const { rows, columns } = work
  const rank = rankOf(work)
  const room = rooms()
  const weight = room.take(rows * columns * elementBytes(work))
  const vectors = room.take(columns * rank * elementBytes(work))
  const own = room.take(8 * rank * (columns + 2 * rows + 2 * rank) + orthonormalizeBytes(rank, columns) + 256)
  return { weight, vectors, own, total: room.total() }
}

export const hra: HeldRule = {
  layout(work) {
    const { rows, columns } = work
    const rank = rankOf(work)
    const { weight, vectors, own, total } = places(work)
    const fill = (input: number, elements: number, at: number) => ({
      ...{ kind: 'fill' as const, terms: [{ input, factor: 1 }], onBase: false, elements, at },
      narrow: narrowOf(work),
    })
    return {
      bytes: total,
      operations: 4 * rows * columns * rank,
      steps: [fill(0, rows * columns, weight), fill(1, columns * rank, vectors), { kind: 'solve', stage: 0 }],
      result: weight,
      own,
    }
  },
  solve(team, work, _, origin) {
    const { rows, columns } = work
    const rank = rankOf(work)
    const at = places(work)
    const weight = matrixAt(origin + at.weight, rows, columns, narrowOf(work))
    const basis = allocateMatrix(team, rank, columns)
    const stored = narrowOf(work)
      ? team.f32(origin + at.vectors, columns * rank)
      : team.f64(origin + at.vectors, columns * rank)
    const to = team.f64(basis.at, rank * columns)
    eachPiece(team, rank * columns, (from, end) => {
      for (let i = from; i < end; i++) to[i] = stored[(i % columns) * rank + Math.floor(i / columns)]!
    })
    team.barrier()
    const kept = work.options.orthonormal === 1 ? orthonormalize(team, basis) : rank
    const vectors = matrixAt(basis.at, kept, columns)
    const triangle = triangleOf(team, vectors, work.options.orthonormal === 1)
    const [images, mixed] = [allocateMatrix(team, rows, kept), allocateMatrix(team, rows, kept)]
    product(team, images, weight, transposed(vectors))
    product(team, mixed, images, triangle)
    product(team, weight, mixed, vectors, { scale: -1, add: true })
    return kept < rank ? 'HRA: its vectors depend on each other, so that reflections are missing' : undefined
  },
}

/** T of the reflections by these vectors, which become unit vectors. */
function triangleOf(team: Team, vectors: ReturnType<typeof matrixAt>, orthonormal: boolean) {
  const rank = vectors.rows
  const gram = allocateMatrix(team, rank, rank)
  const triangle = allocateMatrix(team, rank, rank)
  if (!orthonormal) {
    product(team, gram, vectors, transposed(vectors), { symmetric: true })
    const squares = team.f64(gram.at, rank * rank)
    const lengths = Float64Array.from({ length: rank }, (_, i) => 1 / Math.sqrt(squares[i * rank + i]!))
    team.barrier()
    scaleRows(team, vectors, lengths)
  }
  product(team, gram, vectors, transposed(vectors), { symmetric: true })
  team.once(() => {
    const [dots, t] = [team.f64(gram.at, rank * rank), team.f64(triangle.at, rank * rank)]
    t.fill(0)
    for (let k = 0; k < rank; k++) {
      t[k * rank + k] = 2
      for (let i = 0; i < k && !orthonormal; i++) {
        let sum = 0
        for (let j = i; j < k; j++) sum += t[i * rank + j]! * dots[j * rank + k]!
        t[i * rank + k] = -2 * sum
      }
    }
  })
  return triangle
}
