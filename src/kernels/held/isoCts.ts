/**
 * iso_cts: the first c triplets of Σ D_i, D_i = w_i δ_i, and the first s of each D_i outside of the common left vectors; both
 * sides' vectors replaced by their polar factors, every singular value by the mean over the shorter side.
 */
import { eigenBytes } from '../dense/eigen.js'
import { allocateMatrix, type Matrix, matrixAt, product, transposed } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'
import { elementBytes, fillWith, narrowOf, sidesOf, tall, weighted } from './spectrum.js'
import { finish, finishBytes, push, stacked, stackPlaces } from './tsvM.js'
import { type HeldRule, type HeldWork, rooms } from './types.js'

function halfToEven(x: number): number {
  const below = Math.floor(x)
  if (x - below !== 0.5) return Math.round(x)
  return below % 2 === 0 ? below : below + 1
}

/** Dimensions of the common part and of each model's own. */
function dimensions(work: HeldWork): { common: number; own: number } {
  const { short } = sidesOf(work)
  const models = work.weights.length
  const share = (short - Math.trunc(Number(work.options.common) * short)) / models
  const own = Math.min(Math.floor(short / models), halfToEven(share))
  return { common: short - models * own, own }
}

function places(work: HeldWork) {
  const { short, long } = sidesOf(work)
  const room = rooms()
  const stack = stackPlaces(room, short, short, long, work.weights.length + 1)
  const delta = room.take(short * long * elementBytes(work))
  const rest = room.take(8 * short * long)
  const own = room.take(Math.max(8 * short * short + eigenBytes(short), finishBytes(short, short), 8 * short * long))
  return { ...stack, delta, rest, own, total: room.total() }
}

/** `out` = D − U Uᵀ D, U the common left vectors of D itself, not of the tall matrix that stands for it. */
function outside(team: Team, work: HeldWork, a: Matrix, common: number, vectors: Matrix, out: Matrix): void {
  const n = work.rows * work.columns
  team.once(() => {
    const from = a.narrow ? team.f32(a.at, n) : team.f64(a.at, n)
    team.f64(out.at, n).set(from)
  })
  const mark = team.mark()
  const wide = work.rows < work.columns
  const inner = allocateMatrix(team, common, wide ? a.rows : a.columns)
  if (wide) {
    product(team, inner, vectors, transposed(a))
    product(team, out, transposed(inner), vectors, { scale: -1, add: true })
  } else {
    product(team, inner, vectors, a)
    product(team, out, transposed(vectors), inner, { scale: -1, add: true })
  }
  team.release(mark)
}

export const isoCts: HeldRule = {
  layout(work) {
    const { short, long } = sidesOf(work)
    const models = work.weights.length
    const { delta, own, total } = places(work)
    const elements = work.rows * work.columns
    const fill = { kind: 'fill' as const, onBase: true, elements, at: delta, narrow: narrowOf(work) }
    return {
      bytes: total,
      operations: (models + 1) * short * short * (5 * long + 5 * short) + 20 * short ** 3 + 4 * short * short * long,
      steps: [
        { ...fill, terms: weighted(work) },
        { kind: 'solve', stage: 0 },
        ...work.weights.flatMap((_, input) => [
          { ...fill, terms: [{ input, factor: 1 }] },
          { kind: 'solve' as const, stage: input + 1 },
        ]),
        { kind: 'solve', stage: models + 1 },
      ],
      result: delta,
      own,
    }
  },
  solve(team, work, stage, origin) {
    const { delta, rest, ...stack } = places(work)
    const models = work.weights.length
    const { common, own } = dimensions(work)
    const matrix = tall(work, origin + delta)
    const unknown = (part: number) =>
      team.once(() => team.f64(origin + stack.counts, models + 1).fill(Number.NaN, part, part + 1))
    if (stage === 0) {
      if (!push(team, stack, origin, 0, matrix, 1, common)) unknown(0)
      return
    }
    const before = stacked(team, stack, origin, stage)
    if (stage <= models) {
      if (Number.isNaN(before)) return unknown(stage)
      const found = team.f64(origin + stack.counts, 1)[0]!
      const left =
        work.rows < work.columns
          ? matrixAt(origin + stack.shorter, found, matrix.columns)
          : matrixAt(origin + stack.longer, found, matrix.rows)
      const outer = tall(work, origin + rest, false)
      outside(team, work, matrix, found, left, outer)
      if (!push(team, stack, origin, stage, outer, work.weights[stage - 1]!, own)) unknown(stage)
      return
    }
    if (Number.isNaN(before)) return fillWith(team, work, origin + delta, Number.NaN)
    const mean = team.f64(origin + stack.values, before).reduce((total, value) => total + value, 0) / matrix.columns
    finish(team, stack, origin, models + 1, matrix, work.scale * mean, true)
  },
}
