/**
 * tsv_m: the first singular triplets of each w_i δ_i; the vectors of each side, all models' together, replaced by their polar
 * factor U(UᵀU)^(−1/2). `rank_share` of the shorter side a model.
 */
import { eigenBytes } from '../dense/eigen.js'
import { allocateMatrix, type Matrix, matrixAt, product, scaleRows, transposed } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'
import { eachModel, elementBytes, fillWith, firstTriplets, inverseRoot, otherSide, sidesOf, tall } from './spectrum.js'
import { type HeldRule, type HeldWork, rooms } from './types.js'

const rankFor = (work: HeldWork): number =>
  Math.max(1, Math.min(sidesOf(work).short, Math.trunc(Number(work.options.rank_share) * sidesOf(work).short)))

function places(work: HeldWork) {
  const { short, long } = sidesOf(work)
  const models = work.weights.length
  const most = models * rankFor(work)
  const room = rooms()
  const stack = stackPlaces(room, most, short, long, models)
  const delta = room.take(short * long * elementBytes(work))
  const own = room.take(Math.max(8 * short * short + eigenBytes(short), finishBytes(most, short)))
  return { ...stack, delta, own, total: room.total() }
}

/** Where triplets gather: values, vectors of the shorter and of the longer side in rows, and by part how many there are. */
export const stackPlaces = (
  room: ReturnType<typeof rooms>,
  most: number,
  short: number,
  long: number,
  parts: number,
) => ({
  counts: room.take(8 * parts),
  values: room.take(8 * most),
  shorter: room.take(8 * most * short),
  longer: room.take(8 * most * long),
})

/** Rooms of `finish`. */
export const finishBytes = (most: number, short: number): number =>
  16 * most * most + Math.max(eigenBytes(most), 8 * (most * most + most * short)) + 1024

export type Stack = ReturnType<typeof stackPlaces>

/** How many triplets there are before a part. */
export function stacked(team: Team, stack: Stack, origin: number, part: number): number {
  return team.f64(origin + stack.counts, part).reduce((total, count) => total + count, 0)
}

/** Adds triplets of factor · A as a part; those of a wide matrix and a tall one alike. */
export function push(
  team: Team,
  stack: Stack,
  origin: number,
  part: number,
  a: Matrix,
  factor: number,
  most: number,
): boolean {
  const before = stacked(team, stack, origin, part)
  const mark = team.mark()
  const triplets =
    factor === 0 ? { values: new Float64Array(0) } : firstTriplets(team, a, ({ length }) => Math.min(length, most))
  const count = Math.min(most, triplets?.values.length ?? 0)
  if (triplets && 'vectors' in triplets && count > 0) {
    const { short, long } = { short: a.columns, long: a.rows }
    const out = matrixAt(origin + stack.longer + 8 * before * long, count, long)
    otherSide(team, a, triplets, out)
    if (factor < 0) scaleRows(team, out, new Float64Array(count).fill(-1))
    team.once(() => {
      const values = team.f64(origin + stack.values, before + count)
      for (let i = 0; i < count; i++) values[before + i] = Math.abs(factor) * triplets.values[i]!
    })
    const shorter = team.f64(origin + stack.shorter + 8 * before * short, count * short)
    team.each(count, (row) => shorter.set(team.f64(triplets.vectors.at + 8 * row * short, short), row * short))
  }
  team.release(mark)
  team.once(() => {
    team.f64(origin + stack.counts, part + 1)[part] = count
  })
  return triplets !== undefined
}

/** `out` (tall) = factor · Û S V̂ᵀ, with 1 in the place of every singular value where `flat`. */
export function finish(
  team: Team,
  stack: Stack,
  origin: number,
  parts: number,
  out: Matrix,
  factor: number,
  flat: boolean,
): void {
  const k = stacked(team, stack, origin, parts)
  const longer = matrixAt(origin + stack.longer, k, out.rows)
  const shorter = matrixAt(origin + stack.shorter, k, out.columns)
  const roots = [longer, shorter].map((vectors) => {
    const root = allocateMatrix(team, k, k)
    product(team, root, vectors, transposed(vectors), { symmetric: true })
    inverseRoot(team, root)
    return root
  }) as [Matrix, Matrix]
  if (!flat) scaleRows(team, roots[1], team.f64(origin + stack.values, k))
  const both = allocateMatrix(team, k, k)
  product(team, both, roots[0], roots[1], { scale: factor })
  const right = allocateMatrix(team, k, out.columns)
  product(team, right, both, shorter)
  product(team, out, transposed(longer), right)
}

export const tsvM: HeldRule = {
  layout(work) {
    const { short, long } = sidesOf(work)
    const models = work.weights.length
    const k = rankFor(work)
    const most = models * k
    const { delta, own, total } = places(work)
    return {
      bytes: total,
      operations:
        models * (short * short * (long + 4 * short) + 2 * k * short * (short + long)) +
        most * most * (3 * (short + long) + 14 * most),
      steps: [...eachModel(work, delta), { kind: 'solve', stage: models }],
      result: delta,
      own,
    }
  },
  solve(team, work, stage, origin) {
    const { delta, ...stack } = places(work)
    const models = work.weights.length
    const matrix = tall(work, origin + delta)
    if (stage < models) {
      const finite = push(team, stack, origin, stage, matrix, work.weights[stage]!, rankFor(work))
      if (!finite) team.once(() => team.f64(origin + stack.counts, models).fill(Number.NaN, stage, stage + 1))
      return
    }
    if (Number.isNaN(stacked(team, stack, origin, models))) return fillWith(team, work, origin + delta, Number.NaN)
    finish(team, stack, origin, models, matrix, work.scale, false)
  },
}
