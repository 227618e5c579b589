/** iso_c: Δ = Σ w_i δ_i; mean(σ) · Q with Q = Δ(ΔᵀΔ)^(−1/2), Δ's polar factor, over the shorter side. */
import { eigenBytes } from '../dense/eigen.js'
import { product, scaleRows, transposed } from '../dense/matrix.js'
import { elementBytes, fillWith, firstTriplets, narrowOf, sidesOf, tall, weighted } from './spectrum.js'
import { type HeldRule, type HeldWork, rooms } from './types.js'

function places(work: HeldWork) {
  const { short, long } = sidesOf(work)
  const room = rooms()
  const bytes = short * long * elementBytes(work)
  const sum = room.take(bytes)
  const result = room.take(bytes)
  const own = room.take(8 * short * short + eigenBytes(short))
  return { sum, result, own, total: room.total() }
}

export const isoC: HeldRule = {
  layout(work) {
    const { short, long } = sidesOf(work)
    const { sum, result, own, total } = places(work)
    const elements = work.rows * work.columns
    return {
      bytes: total,
      operations: short * short * (3 * long + 7 * short),
      steps: [
        { kind: 'fill', terms: weighted(work), onBase: true, elements, at: sum, narrow: narrowOf(work) },
        { kind: 'solve', stage: 0 },
      ],
      result,
      own,
    }
  },
  solve(team, work, _, origin) {
    const { sum, result } = places(work)
    const delta = tall(work, origin + sum)
    const triplets = firstTriplets(team, delta, (values) => values.length)
    if (!triplets) return fillWith(team, work, origin + result, Number.NaN)
    const { values, vectors, room: root } = triplets
    const mean = values.reduce((total, value) => total + value, 0) / delta.columns
    scaleRows(
      team,
      vectors,
      values.map((value) => 1 / Math.sqrt(value)),
    )
    product(team, root, transposed(vectors), vectors, { symmetric: true, scale: work.scale * mean })
    product(team, tall(work, origin + result), delta, root)
  },
}
