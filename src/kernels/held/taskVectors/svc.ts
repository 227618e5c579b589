/**
 * svc: Σ γ_r σ_r u_r v_rᵀ of D = m − b. Inputs: m, then the models. Stages: the triplets of D; a_ri = u_rᵀ δ_i of each model; the result.
 */
import { eigenBytes } from '../../dense/eigen.js'
import { allocateMatrix, type Matrix, matrixAt, product, scaleRows, transposed } from '../../dense/matrix.js'
import type { Team } from '../../dense/team.js'
import { eachModel, elementBytes, fillWith, firstTriplets, narrowOf, otherSide, sidesOf, tall } from '../spectrum.js'
import { type HeldRule, type HeldWork, rooms } from '../types.js'

function places(work: HeldWork) {
  const { short, long } = sidesOf(work)
  const room = rooms()
  const count = room.take(8)
  const values = room.take(8 * short)
  const overlaps = room.take(8 * short)
  const shorter = room.take(8 * short * short)
  const longer = room.take(8 * short * long)
  const delta = room.take(short * long * elementBytes(work))
  const own = room.take(Math.max(8 * short * short + eigenBytes(short), 8 * short * work.columns) + 1024)
  return { count, values, overlaps, shorter, longer, delta, own, total: room.total() }
}

/** Vectors of rows and of columns, one of D's triplets each. */
function vectorsOf(work: HeldWork, origin: number, count: number): { left: Matrix; right: Matrix } {
  const { short, long, wide } = sidesOf(work)
  const { shorter, longer } = places(work)
  const [by, of] = [matrixAt(origin + shorter, count, short), matrixAt(origin + longer, count, long)]
  return wide ? { left: by, right: of } : { left: of, right: by }
}

export const svc: HeldRule = {
  layout(work) {
    const { short, long } = sidesOf(work)
    const { delta, own, total } = places(work)
    const inputs = work.weights.length
    return {
      bytes: total,
      operations: short * short * (7 * short + (3 + 2 * inputs) * long),
      steps: [...eachModel(work, delta), { kind: 'solve', stage: inputs }],
      result: delta,
      own,
    }
  },
  solve(team, work, stage, origin) {
    if (stage === 0) return decompose(team, work, origin)
    const { count, delta, values, overlaps } = places(work)
    const found = team.f64(origin + count, 1)[0]!
    // Nobody writes before all have read.
    team.barrier()
    const models = work.weights.length - 1
    if (stage > models) {
      if (!(found > 0)) return fillWith(team, work, origin + delta, found === 0 ? 0 : Number.NaN)
      const { left, right } = vectorsOf(work, origin, found)
      const [sums, sigmas] = [team.f64(origin + overlaps, found), team.f64(origin + values, found)]
      scaleRows(
        team,
        right,
        sigmas.map((sigma, r) => (sigma * models) / sums[r]!),
      )
      return product(team, matrixAt(origin + delta, work.rows, work.columns, narrowOf(work)), transposed(left), right)
    }
    if (found > 0) addOverlaps(team, work, origin, found)
  },
}

/** The triplets of D: how many, values, and vectors of both sides. */
function decompose(team: Team, work: HeldWork, origin: number): void {
  const { count, values, overlaps, shorter, longer, delta } = places(work)
  const matrix = tall(work, origin + delta)
  const triplets = firstTriplets(team, matrix, ({ length }) => length)
  const found = triplets ? triplets.values.length : Number.NaN
  team.once(() => {
    team.f64(origin + count, 1)[0] = found
    if (triplets) team.f64(origin + values, found).set(triplets.values)
    team.f64(origin + overlaps, triplets ? found : 0).fill(0)
  })
  if (!triplets || found === 0) return
  otherSide(team, matrix, triplets, matrixAt(origin + longer, found, matrix.rows))
  const short = matrix.columns
  const [from, to] = [triplets.vectors.at, origin + shorter].map((at) => team.f64(at, found * short))
  team.each(found, (row) => to!.set(from!.subarray(row * short, (row + 1) * short), row * short))
}

/** Adds max(α, s_ri) of one model. */
function addOverlaps(team: Team, work: HeldWork, origin: number, found: number): void {
  const { values, overlaps, delta } = places(work)
  const { left, right } = vectorsOf(work, origin, found)
  const { rows, columns } = work
  const mark = team.mark()
  const images = allocateMatrix(team, found, columns)
  product(team, images, left, matrixAt(origin + delta, rows, columns, narrowOf(work)))
  const [sums, sigmas] = [team.f64(origin + overlaps, found), team.f64(origin + values, found)]
  const [a, v] = [team.f64(images.at, found * columns), team.f64(right.at, found * columns)]
  team.each(found, (r) => {
    let [own, along] = [0, 0]
    for (let j = r * columns; j < (r + 1) * columns; j++) {
      own += a[j]! * a[j]!
      along += v[j]! * a[j]!
    }
    const overlap = own === 0 ? 0 : (sigmas[r]! * along) / own
    // What is no number stays none.
    sums[r]! += overlap < Number(work.options.alpha) ? Number(work.options.alpha) : overlap
  })
  team.release(mark)
}
