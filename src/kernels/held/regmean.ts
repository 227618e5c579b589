/**
 * regmean: W = (Σ W_i G_i)(Σ G_i)⁻¹ for W_i [outputs, inputs] and G_i [inputs, inputs], off-diagonals times alpha; by Cholesky.
 * Inputs: the models, then their G. An input whose diagonals are all 0 takes the mean,
 * and so do all where the sum of the G_i is singular.
 */
import { fault } from '../../core/diagnostics.js'
import { cholesky, solveRight } from '../dense/cholesky.js'
import { eachPiece, matrixAt, product } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'
import { elementBytes, narrowOf } from './spectrum.js'
import { type HeldRule, type HeldWork, rooms } from './types.js'

/** With alpha below 1, a sum of Gram matrices is regular; otherwise the inputs are not Gram matrices. */
const SINGULAR = 'regmean took the mean: with alpha 1 the sum of the Gram matrices is singular'

function places(work: HeldWork) {
  const { rows, columns } = work
  const room = rooms()
  const products = room.take(8 * rows * columns)
  const total = room.take(8 * columns * columns)
  const weight = room.take(rows * columns * elementBytes(work))
  const gram = room.take(8 * columns * columns)
  const fed = room.take(8 * columns)
  const held = room.take(rows * columns)
  return { products, total, weight, gram, fed, held, own: room.total() }
}

/** Values that are not finite, as a byte: where all models hold the same, it is the result, and no other element depends on it. */
const HELD = [0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN]
const FINITE = 0
const UNLIKE = HELD.length
const kindOf = (value: number): number => (value - value === 0 ? FINITE : value > 0 ? 1 : value < 0 ? 2 : 3)

type Floats = Float32Array | Float64Array

/** Takes what models share out of one's weights. NaN where it turns out that they do not: it spoils its row, as it should. */
function takeHeld(team: Team, weights: Floats, held: Uint8Array, first: boolean): void {
  eachPiece(team, weights.length, (from, to) => {
    for (let i = from; i < to; i++) {
      const kind = kindOf(weights[i]!)
      if (first) held[i] = kind
      else if (held[i] !== kind) [held[i], weights[i]] = [UNLIKE, Number.NaN]
      if (kind !== FINITE && held[i] === kind) weights[i] = 0
    }
  })
}

export const regmean: HeldRule = {
  layout(work) {
    const { rows, columns, weights } = work
    const { weight, gram, own } = places(work)
    const models = weights.length
    const fill = { kind: 'fill' as const, onBase: false, narrow: narrowOf(work) }
    const matrix = { ...fill, elements: rows * columns, at: weight }
    return {
      bytes: own,
      operations: models * 2 * rows * columns * columns + columns ** 3 / 3 + 2 * rows * columns * columns,
      steps: [
        ...weights.flatMap((_, input) => [
          { ...matrix, terms: [{ input, factor: 1 }] },
          {
            ...fill,
            narrow: false,
            elements: columns * columns,
            at: gram,
            terms: [{ input: models + input, factor: 1 }],
          },
          { kind: 'solve' as const, stage: input },
        ]),
        // For inputs that were always 0.
        { ...matrix, terms: weights.map((_, input) => ({ input, factor: 1 })) },
        { kind: 'solve', stage: models },
      ],
      result: weight,
      own,
    }
  },
  solve(team, work, stage, origin) {
    const { rows, columns, weights, options } = work
    const at = places(work)
    const alpha = Number(options.alpha)
    const total = team.f64(origin + at.total, columns * columns)
    const gram = team.f64(origin + at.gram, columns * columns)
    const fed = team.f64(origin + at.fed, columns)
    const products = matrixAt(origin + at.products, rows, columns)
    const weight = matrixAt(origin + at.weight, rows, columns, narrowOf(work))
    const sums = weight.narrow ? team.f32(weight.at, rows * columns) : team.f64(weight.at, rows * columns)
    const held = team.u8(origin + at.held, rows * columns)
    if (stage < weights.length) {
      team.each(columns, (row) => {
        if (stage === 0) {
          fed[row] = 0
          total.fill(0, row * columns, (row + 1) * columns)
        }
        for (let j = 0; j < columns; j++) {
          const place = row * columns + j
          if (j !== row) gram[place]! *= alpha
          else if (gram[place] !== 0) fed[row] = 1
          total[place]! += gram[place]!
        }
      })
      takeHeld(team, sums, held, stage === 0)
      product(team, products, weight, matrixAt(origin + at.gram, columns, columns), { add: stage > 0 })
      return undefined
    }
    const right = team.f64(products.at, rows * columns)
    const isHeld = (i: number): boolean => held[i] !== FINITE && held[i] !== UNLIKE
    team.each(columns, (j) => {
      if (fed[j] !== 0) return
      total[j * columns + j]! += weights.length
      for (let i = j; i < right.length; i += columns) right[i]! += isHeld(i) ? 0 : sums[i]!
    })
    const factor = matrixAt(origin + at.total, columns, columns)
    if (!cholesky(team, factor)) {
      if (alpha === 1) {
        eachPiece(team, rows * columns, (from, to) => {
          for (let i = from; i < to; i++) sums[i]! /= weights.length
        })
        return SINGULAR
      }
      throw fault(
        'bad-statistics',
        `the statistics of ${String(options.tensor)} are not positive definite`,
        'regmean needs Gram matrices XᵀX of the inputs of each layer',
        1,
      )
    }
    solveRight(team, factor, products)
    eachPiece(team, rows * columns, (from, to) => {
      for (let i = from; i < to; i++) sums[i] = isHeld(i) ? HELD[held[i]!]! : right[i]!
    })
    return undefined
  },
}
