/**
 * joined: the factors of Σ c_i·B_i·A_i side by side, which is exact. A is [A_1; …; A_n], and B is [c_1·B_1 … c_n·B_n]: each product
 * with c_i in float64, rounded once.
 */
import { FIGURES } from '../pair.js'
import { elementBytes, narrowOf } from '../spectrum.js'
import { type FactorPlaces, type Fill, type HeldRule, type HeldWork, rooms } from '../types.js'
import { sizesOf } from './bases.js'

function places(work: HeldWork) {
  const { rows, columns } = sizesOf(work)
  // At least the rank of all changes together; what is more is 0.
  const rank = Number(work.options.rank)
  const size = elementBytes(work)
  const room = rooms()
  const figures = room.take(8 * FIGURES)
  const [b, a, blocks] = [
    room.take(size * rank * rows),
    room.take(size * rank * columns),
    room.take(size * rank * rows),
  ]
  return { figures, b, a, blocks, own: room.take(64), total: room.total() }
}

export function joinedPlaces(work: HeldWork): FactorPlaces {
  const { figures, b, a } = places(work)
  return { figures, b, a, elementBytes: elementBytes(work) }
}

export const joined: HeldRule = {
  layout(work) {
    const { rows, columns, ranks, rank } = sizesOf(work)
    const { figures, a, blocks, own, total } = places(work)
    const [size, narrow] = [elementBytes(work), narrowOf(work)]
    let before = 0
    const fills = ranks.flatMap((one, index) => {
      const fill = (input: number, factor: number, elements: number, at: number): Fill => ({
        kind: 'fill',
        terms: [{ input, factor }],
        onBase: false,
        elements,
        at,
        narrow,
      })
      const own = [
        fill(2 * index, 1, one * columns, a + size * before * columns),
        fill(2 * index + 1, work.weights[index]!, one * rows, blocks + size * before * rows),
      ]
      before += one
      return own
    })
    return {
      bytes: total,
      operations: rank * (rows + columns),
      steps: [...fills, { kind: 'solve', stage: 0 }],
      result: figures,
      own,
    }
  },
  solve(team, work, _, origin) {
    const { rows, columns, ranks, rank: found } = sizesOf(work)
    const rank = Number(work.options.rank)
    const { figures, b, a, blocks } = places(work)
    const all = (at: number, n: number) => (narrowOf(work) ? team.f32(origin + at, n) : team.f64(origin + at, n))
    const [to, from] = [all(b, rank * rows), all(blocks, rank * rows)]
    team.once(() => {
      to.fill(0)
      all(a, rank * columns).fill(0, found * columns)
    })
    let before = 0
    for (const one of ranks) {
      const first = before
      team.each(Math.ceil(rows / 256), (share) => {
        for (let i = share * 256; i < Math.min(rows, (share + 1) * 256); i++)
          for (let k = 0; k < one; k++) to[i * rank + first + k] = from[first * rows + i * one + k]!
      })
      before += one
    }
    // Only tells whether all elements are finite: what is joined keeps all of its energy.
    const finite = to.every(Number.isFinite) && all(a, rank * columns).every(Number.isFinite)
    team.once(() => team.f64(origin + figures, FIGURES).set([finite ? 0 : Number.NaN, found, 0, 0]))
  },
}
