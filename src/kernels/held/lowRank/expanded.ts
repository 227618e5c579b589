/**
 * expanded: a merged core M [left, right] as the factors of the change Uᵀ M V. U and V are the bases that the work of the cores
 * left in the team's memory, vectors in rows.
 *
 * cut: the first `rank` singular triplets of M, which is the best approximation of that rank. Else exactly: B = Uᵀ and A = M V, or
 * B = Uᵀ M and A = V where that rank is smaller.
 */
import { eigenBytes } from '../../dense/eigen.js'
import { allocateMatrix, matrixAt, part, product, transposed } from '../../dense/matrix.js'
import { FIGURES, writePair } from '../pair.js'
import { firstTriplets, otherSide } from '../spectrum.js'
import { type FactorPlaces, type HeldRule, type HeldWork, rooms } from '../types.js'
import { sizesOf } from './bases.js'

function places(work: HeldWork) {
  const { rows, columns, left, right } = sizesOf(work)
  const rank = Number(work.options.rank)
  const short = Math.min(left, right)
  const room = rooms()
  const figures = room.take(8 * FIGURES)
  const [b, a, merged] = [room.take(8 * rank * rows), room.take(8 * rank * columns), room.take(8 * left * right)]
  const cut = 8 * short * short + eigenBytes(short) + 8 * rank * (left + right + rows + columns)
  return { figures, b, a, merged, own: room.take(cut + 4096), total: room.total() }
}

export function expandedPlaces(work: HeldWork): FactorPlaces {
  const { figures, b, a } = places(work)
  return { figures, b, a, elementBytes: 8 }
}

export const expanded: HeldRule = {
  layout(work) {
    const { rows, columns, left, right } = sizesOf(work)
    const { figures, merged, own, total } = places(work)
    const rank = Number(work.options.rank)
    return {
      bytes: total,
      operations: rank * (left * rows + right * columns) + 9 * Math.min(left, right) ** 3,
      steps: [
        {
          kind: 'fill',
          terms: [{ input: 0, factor: 1 }],
          onBase: true,
          elements: left * right,
          at: merged,
          narrow: false,
        },
        { kind: 'solve', stage: 0 },
      ],
      result: figures,
      own,
    }
  },
  solve(team, work, _, origin) {
    const { rows, columns, left, right } = sizesOf(work)
    const { figures, b, a, merged } = places(work)
    const { rank, most = rank, cut, down, across } = work.options
    // The factors are stored with this rank; what is more than the result needs is 0.
    const count = Number(rank)
    const [u, v] = [matrixAt(Number(down), left, rows), matrixAt(Number(across), right, columns)]
    const m = matrixAt(origin + merged, left, right)
    const squares = team.f64(m.at, left * right).reduce((sum, value) => sum + value * value, 0)
    const found = team.f64(origin + figures, FIGURES)
    team.barrier()
    team.once(() => found.set([squares, 0, 0, 0]))
    const [toB, toA] = [matrixAt(origin + b, rows, count), matrixAt(origin + a, count, columns)]
    const clear = (at: number, n: number) => team.once(() => void team.f64(at, n).fill(0))
    if (!(squares > 0 && Number.isFinite(squares))) {
      clear(toB.at, rows * count)
      return clear(toA.at, count * columns)
    }
    if (cut === 1) {
      const wide = left < right
      const triplets = firstTriplets(team, wide ? transposed(m) : m, (values) => Math.min(Number(most), values.length))!
      const { vectors, values } = triplets
      const other = allocateMatrix(team, vectors.rows, Math.max(left, right))
      otherSide(team, wide ? transposed(m) : m, triplets, other)
      const [inU, inV] = wide ? [vectors, other] : [other, vectors]
      const pair = [allocateMatrix(team, vectors.rows, rows), allocateMatrix(team, vectors.rows, columns)] as const
      product(team, pair[0], inU, u)
      product(team, pair[1], inV, v)
      const at = { figures: origin + figures, b: origin + b, a: origin + a }
      const form = { rank: count, scale: work.scale, turned: false, narrow: false }
      const energy = work.options.energy as number | undefined
      return writePair(team, { ...form, energy, ...at }, values, ...pair)
    }
    const identity = (basis: typeof u, to: typeof toB) => {
      // `to` may be a transposed matrix.
      const values = team.f64(basis.at, basis.rows * basis.columns)
      const out = team.f64(to.at, to.rows * to.columns)
      team.each(basis.rows, (row) => {
        for (let i = 0; i < basis.columns; i++) out[i * to.down + row * to.across] = values[row * basis.columns + i]!
      })
    }
    clear(toB.at, rows * count)
    clear(toA.at, count * columns)
    if (left <= right) {
      identity(u, toB)
      product(team, part(toA, 0, 0, left, columns), m, v)
    } else {
      identity(v, transposed(toA))
      product(team, part(toB, 0, 0, rows, right), transposed(u), m)
    }
    team.once(() => found.set([squares, Math.min(left, right), squares, 0]))
  },
}
