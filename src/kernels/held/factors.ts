/**
 * Low-rank factors of a difference: δ ≈ U S Vᵀ cut to `rank` triplets, as B·A with B = U √(S/s) and A = √(S/s) Vᵀ, s the scale that
 * the adapter's reader will apply. Split evenly, so that both factors have numbers of one size whatever dtype stores them.
 *
 * exact: V and S from the Gram matrix of the shorter side. randomised (Halko, Martinsson, Tropp, arXiv 0909.4061): Z ← orth(δᵀδ Z)
 * `iterations` times from a random Z of rank + oversampling columns (numbers even in (−1, 1): no logarithm), then the triplets of
 * δ Z. Panels of whole rows are filled and gone through one after the other; a matrix that fits into one is filled once.
 * Of each triplet the element of B's column that is largest in magnitude (of equal ones the first) is positive.
 *
 * Result, from `factorPlaces` on: figures ‖δ‖², triplets found, Σ σ² of them (float64); B [out, rank]; A [rank, in], in the compute
 * type, zeros where fewer triplets were found. `turned`: δ is stored [in, out]. ‖δ‖² is not finite where an element of δ is not.
 */
import { philox, type RandomStream } from '../../core/random.js'
import { eigenBytes } from '../dense/eigen.js'
import { allocateMatrix, eachPiece, type Matrix, matrixAt, product, transposed } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'
import { TILE } from '../types.js'
import { orthonormalize, orthonormalizeBytes } from './orthonormal.js'
import { FIGURES, writePair } from './pair.js'
import { elementBytes, firstTriplets, narrowOf, otherSide, sidesOf, tall, tripletsOf } from './spectrum.js'
import { type FactorPlaces, type HeldRule, type HeldWork, rooms } from './types.js'

/** Elements that one partial sum of squares is over. */
const PIECE = 1 << 15

interface Options {
  readonly rank: number
  readonly randomised: boolean
  /** Columns of Z. */
  readonly width: number
  readonly iterations: number
  /** Elements of a panel at the most; a row is not cut. */
  readonly panel: number
  readonly turned: boolean
  readonly stream: RandomStream
}

function optionsOf(work: HeldWork): Options {
  const { rank, method, oversampling, iterations, panel, turned, stream } = work.options
  const { short } = sidesOf(work)
  return {
    rank: Number(rank),
    randomised: method === 'randomised',
    width: Math.min(short, Number(rank) + Number(oversampling ?? 0)),
    iterations: Number(iterations),
    panel: Number(panel),
    turned: turned === 1,
    stream: stream as unknown as RandomStream,
  }
}

interface Panel {
  readonly row: number
  readonly rows: number
  /** Elements of the tensor that are filled for it: whole tiles, so a little more than its rows. */
  readonly first: number
  readonly count: number
}

function panelsOf(work: HeldWork): Panel[] {
  const { rows, columns } = work
  const { randomised, panel } = optionsOf(work)
  const each = randomised ? Math.max(1, Math.min(rows, Math.floor(panel / columns))) : rows
  return Array.from({ length: Math.ceil(rows / each) }, (_, index) => {
    const row = index * each
    const end = Math.min(rows, row + each)
    const first = Math.floor((row * columns) / TILE) * TILE
    const last = Math.min(rows * columns, Math.ceil((end * columns) / TILE) * TILE)
    return { row, rows: end - row, first, count: last - first }
  })
}

function places(work: HeldWork) {
  const { rows, columns } = work
  const { short, long } = sidesOf(work)
  const { rank, randomised, width } = optionsOf(work)
  const size = elementBytes(work)
  const most = panelsOf(work).reduce((largest, { count }) => Math.max(largest, count), 0)
  const room = rooms()
  const figures = room.take(8 * FIGURES)
  const [b, a] = [room.take(size * rank * long), room.take(size * rank * long)]
  const panel = room.take(size * most)
  const pieces = room.take(8 * Math.ceil(most / PIECE))
  const triplets = 8 * rank * (short + long)
  if (!randomised) {
    const own = room.take(8 * short * short + eigenBytes(short) + triplets)
    return { figures, b, a, panel, pieces, z: [], y: 0, own, total: room.total() }
  }
  const z = [room.take(8 * width * columns), room.take(8 * width * columns)]
  const y = room.take(8 * rows * width)
  const own = room.take(8 * width * width + eigenBytes(width) + triplets + orthonormalizeBytes(width, columns))
  return { figures, b, a, panel, pieces, z, y, own, total: room.total() }
}

export function factorsPlaces(work: HeldWork): FactorPlaces {
  const { figures, b, a } = places(work)
  return { figures, b, a, elementBytes: elementBytes(work) }
}

export const factors: HeldRule = {
  layout(work) {
    const { rows, columns } = work
    const { short, long } = sidesOf(work)
    const { rank, randomised, width, iterations } = optionsOf(work)
    const { figures, panel, own, total } = places(work)
    const panels = panelsOf(work)
    const fill = ({ first, count }: Panel) => ({
      kind: 'fill' as const,
      terms: [{ input: 0, factor: 1 }],
      onBase: true,
      elements: count,
      first,
      at: panel,
      narrow: narrowOf(work),
    })
    const passes = randomised ? iterations + 1 : 1
    return {
      bytes: total,
      operations: randomised
        ? rows * columns * width * (4 * iterations + 2) + 4 * width * width * (iterations * columns + rows)
        : short * short * (long + 7 * short) + 2 * rank * short * long,
      steps: Array.from({ length: passes * panels.length }, (_, stage) => {
        const solve = { kind: 'solve' as const, stage }
        return panels.length > 1 || stage === 0 ? [fill(panels[stage % panels.length]!), solve] : [solve]
      }).flat(),
      result: figures,
      own,
    }
  },
  solve(team, work, stage, origin) {
    const { figures, panel: at, pieces } = places(work)
    const { randomised } = optionsOf(work)
    const panels = panelsOf(work)
    const index = stage % panels.length
    const found = team.f64(origin + figures, FIGURES)
    if (stage < panels.length) {
      if (stage === 0) team.once(() => void found.fill(0))
      addSquares(team, work, panels[index]!, origin + at, origin + pieces, found)
    }
    const squares = found[0]!
    team.barrier()
    // When all panels have been seen: there may be nothing to be found, and both factors are 0.
    if (stage >= panels.length - 1 && !(squares > 0 && Number.isFinite(squares)))
      return stage === panels.length - 1 ? clear(team, work, origin) : undefined
    if (randomised) return narrowDown(team, work, stage, origin)
    const matrix = tall(work, origin + at)
    const { rank } = optionsOf(work)
    const triplets = firstTriplets(team, matrix, (values) => Math.min(rank, values.length))!
    const { vectors } = triplets
    const other = allocateMatrix(team, vectors.rows, matrix.rows)
    otherSide(team, matrix, triplets, other)
    const wide = work.rows < work.columns
    write(team, work, origin, triplets.values, wide ? vectors : other, wide ? other : vectors)
  },
}

/** ‖δ‖² of a panel's own rows, added to the figure: pieces in order, whoever does them. */
function addSquares(team: Team, work: HeldWork, panel: Panel, at: number, pieces: number, found: Float64Array): void {
  const n = panel.rows * work.columns
  const from = at + (panel.row * work.columns - panel.first) * elementBytes(work)
  const sums = team.f64(pieces, Math.ceil(n / PIECE))
  team.each(sums.length, (share) => {
    const count = Math.min(PIECE, n - share * PIECE)
    const start = from + share * PIECE * elementBytes(work)
    const values = narrowOf(work) ? team.f32(start, count) : team.f64(start, count)
    let sum = 0
    for (let i = 0; i < count; i++) sum += values[i]! * values[i]!
    sums[share] = sum
  })
  team.once(() => {
    for (const sum of sums) found[0]! += sum
  })
}

function clear(team: Team, work: HeldWork, origin: number): void {
  const { b, panel } = places(work)
  team.once(() => void team.f32(origin + b, (panel - b) / 4).fill(0))
}

/** One panel of one pass of the randomised method. */
function narrowDown(team: Team, work: HeldWork, stage: number, origin: number): void {
  const { rows, columns } = work
  const { width, iterations, stream } = optionsOf(work)
  const { figures, panel: at, z, y } = places(work)
  const panels = panelsOf(work)
  const [pass, index] = [Math.floor(stage / panels.length), stage % panels.length]
  const found = team.f64(origin + figures, FIGURES)
  const [here, next] = [origin + z[pass % 2]!, origin + z[(pass + 1) % 2]!]
  if (stage === 0) {
    scatter(team, team.f64(here, width * columns), stream)
    team.once(() => {
      found[3] = width
    })
  }
  const count = found[3]!
  const panel = panels[index]!
  const start = origin + at + (panel.row * columns - panel.first) * elementBytes(work)
  const matrix = matrixAt(start, panel.rows, columns, narrowOf(work))
  const space = matrixAt(here, count, columns)
  const image = matrixAt(origin + y + 8 * panel.row * count, panel.rows, count)
  product(team, image, matrix, transposed(space))
  const last = index === panels.length - 1
  if (pass < iterations) {
    const turned = matrixAt(next, count, columns)
    product(team, turned, transposed(image), matrix, { add: index > 0 })
    if (!last) return
    const kept = orthonormalize(team, turned)
    team.once(() => {
      found[3] = kept
    })
    return
  }
  if (!last) return
  const whole = matrixAt(origin + y, rows, count)
  const gram = allocateMatrix(team, count, count)
  product(team, gram, transposed(whole), whole, { symmetric: true })
  const triplets = tripletsOf(team, gram, (values) => Math.min(optionsOf(work).rank, values.length))!
  const { vectors } = triplets
  const [down, across] = [allocateMatrix(team, vectors.rows, rows), allocateMatrix(team, vectors.rows, columns)]
  otherSide(team, whole, triplets, down)
  product(team, across, vectors, space)
  write(team, work, origin, triplets.values, down, across)
}

/** Even numbers in (−1, 1), element i of the stream at place i. */
function scatter(team: Team, to: Float64Array, [key0, key1, counter2, counter3]: RandomStream): void {
  eachPiece(team, to.length, (from, end) => {
    for (let i = from; i < end; i += 4) {
      const block = i / 4
      const words = philox([block >>> 0, Math.floor(block / 2 ** 32), counter2, counter3], [key0, key1])
      for (let j = 0; j < Math.min(4, end - i); j++) to[i + j] = ((words[j]! >>> 8) + 0.5) * 2 ** -23 - 1
    }
  })
}

function write(team: Team, work: HeldWork, origin: number, values: Float64Array, down: Matrix, across: Matrix): void {
  const { rank, turned } = optionsOf(work)
  const { figures, b, a } = places(work)
  const at = { figures: origin + figures, b: origin + b, a: origin + a }
  const { energy, above } = work.options as { energy?: number; above?: number }
  writePair(
    team,
    { rank, turned, scale: work.scale, narrow: narrowOf(work), energy, above, ...at },
    values,
    down,
    across,
  )
}
