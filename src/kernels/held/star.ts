/** star: of each δ_i the fewest first triplets that hold `eta` of the singular values' sum, scaled up to all of it. */
import { eachPiece, product, transposed } from '../dense/matrix.js'
import { eachModel, firstTriplets, sidesOf, sumPlaces, tall, writeTensor } from './spectrum.js'
import type { HeldRule } from './types.js'

export const star: HeldRule = {
  layout(work) {
    const { short, long } = sidesOf(work)
    const { delta, own, total } = sumPlaces(work)
    return {
      bytes: total,
      operations: work.weights.length * short * short * (3 * long + 6 * short),
      steps: [...eachModel(work, delta), { kind: 'solve', stage: work.weights.length }],
      result: delta,
      own,
    }
  },
  solve(team, work, stage, origin) {
    const { sum, delta } = sumPlaces(work)
    const elements = work.rows * work.columns
    const all = team.f64(origin + sum, elements)
    if (stage === 0) eachPiece(team, elements, (from, to) => void all.fill(0, from, to))
    if (stage === work.weights.length) return writeTensor(team, work, origin + sum, origin + delta)
    const weight = work.weights[stage]!
    if (weight === 0) return
    const matrix = tall(work, origin + delta)
    let [whole, kept] = [0, 0]
    const triplets = firstTriplets(team, matrix, (values) => {
      whole = values.reduce((total, value) => total + value, 0)
      kept = 0
      let rank = 0
      while (rank < values.length && (rank === 0 || kept < Number(work.options.eta) * whole)) {
        kept += values[rank]!
        rank++
      }
      return rank
    })
    if (!triplets) return eachPiece(team, elements, (from, to) => void all.fill(Number.NaN, from, to))
    if (kept === 0) return
    const { vectors, room: projection } = triplets
    product(team, projection, transposed(vectors), vectors, { symmetric: true })
    const scale = (work.scale * weight * whole) / kept
    product(team, tall(work, origin + sum, false), matrix, projection, { scale, add: true })
  },
}
