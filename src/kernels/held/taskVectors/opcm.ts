/** opcm: P ← P + δ_i − U M Vᵀ, M the diagonal of Uᵀ δ_i V and all of its first s rows and columns. Stages: a model each. */
import { allocateMatrix, eachPiece, product, transposed } from '../../dense/matrix.js'
import {
  eachModel,
  fillWith,
  firstTriplets,
  narrowOf,
  otherSide,
  sidesOf,
  sumPlaces,
  tall,
  writeTensor,
} from '../spectrum.js'
import type { HeldRule, HeldWork } from '../types.js'

/** With room for vectors of the longer side, their images and M. */
function places(work: HeldWork) {
  const { short, long } = sidesOf(work)
  return sumPlaces(work, 8 * short * (short + 2 * long))
}

export const opcm: HeldRule = {
  layout(work) {
    const { short, long } = sidesOf(work)
    const { delta, own, total } = places(work)
    return {
      bytes: total,
      operations: work.weights.length * short * short * (6 * long + 8 * short),
      steps: [...eachModel(work, delta), { kind: 'solve', stage: work.weights.length }],
      result: delta,
      own,
    }
  },
  solve(team, work, stage, origin) {
    const { sum, delta } = places(work)
    const n = work.rows * work.columns
    if (stage === work.weights.length) return writeTensor(team, work, origin + sum, origin + delta)
    const [so, change] = [tall(work, origin + sum, false), tall(work, origin + delta)]
    const [all, own] = [team.f64(so.at, n), narrowOf(work) ? team.f32(change.at, n) : team.f64(change.at, n)]
    // Of the sum before this model.
    const triplets = stage === 0 ? undefined : firstTriplets(team, so, (values) => values.length)
    if (stage > 0 && !triplets) return fillWith(team, { ...work, compute: 'f64' }, so.at, Number.NaN)
    if (!triplets || triplets.values.length === 0)
      return eachPiece(team, n, (from, to) => {
        for (let i = from; i < to; i++) all[i] = stage === 0 ? own[i]! : all[i]! + own[i]!
      })
    const { values, vectors } = triplets
    const k = values.length
    const other = allocateMatrix(team, k, so.rows)
    otherSide(team, so, triplets, other)
    eachPiece(team, n, (from, to) => {
      for (let i = from; i < to; i++) all[i]! += own[i]!
    })
    const images = allocateMatrix(team, k, change.columns)
    product(team, images, other, change)
    const middle = allocateMatrix(team, k, k)
    product(team, middle, images, transposed(vectors))
    const leading = leadingOf(values, Number(work.options.alpha))
    const cells = team.f64(middle.at, k * k)
    team.each(k, (i) => {
      for (let j = 0; j < k; j++) if (i !== j && (i >= leading || j >= leading)) cells[i * k + j] = 0
    })
    product(team, images, middle, vectors)
    product(team, so, transposed(other), images, { scale: -1, add: true })
  },
}

/** How many falling values come before their running sum first exceeds a share of the whole. */
function leadingOf(values: Float64Array, share: number): number {
  const whole = values.reduce((total, value) => total + value, 0)
  let [count, sum] = [0, 0]
  while (count < values.length) {
    sum += values[count]!
    if (sum > share * whole) break
    count++
  }
  return count
}
