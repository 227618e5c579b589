/**
 * Eigenvectors of a symmetric tridiagonal matrix by divide and conquer (Cuppen 1981, Gu and Eisenstat 1995): the matrix is
 * torn into blocks, and the blocks' eigenvectors are joined by rank-one corrections. Vectors lie in rows.
 */
import { join, type Workspace } from './join.js'
import { allocateMatrix, type Matrix, part } from './matrix.js'
import { small } from './small.js'
import type { Team } from './team.js'

/** One thread solves a matrix of up to this size at once. */
const LEAST = 32

export interface Eigen {
  /** Falling. */
  readonly values: Float64Array
  /** A row for each wanted value, in the order of values. */
  readonly vectors: Matrix
}

/**
 * `wanted`: how many of the largest values (falling) need vectors. It takes room for 3n² numbers; the vectors keep n² of them.
 */
export function solveTridiagonal(
  team: Team,
  diagonal: Float64Array,
  beside: Float64Array,
  wanted: (values: Float64Array) => number,
): Eigen {
  const n = diagonal.length
  const { work, mark } = createWorkspace(team, n, beside)
  const { values, vectors, spare, order } = work
  const levels = blocksOf(n)
  solveBlocks(work, diagonal, levels.at(-1)!)
  for (let level = levels.length - 2; level >= 0; level--)
    for (const { from, size } of levels[level]!) join(work, from, size, level === 0 ? wanted : undefined)

  const falling = Float64Array.from(order, (index) => values[index]!).reverse()
  const count = wanted(falling)
  const row = (at: number) => team.f64(at, n)
  team.each(count, (rank) => {
    row(spare.at + rank * n * 8).set(row(vectors.at + order[n - 1 - rank]! * n * 8))
  })
  team.release(mark)
  return { values: falling, vectors: part(spare, 0, 0, count, n) }
}

/** `mark`: releasing it leaves the values and `spare`, which holds the result. */
function createWorkspace(team: Team, n: number, beside: Float64Array): { work: Workspace; mark: number } {
  const numbers = () => team.f64(team.allocate(8 * n), n)
  const places = () => team.i32(team.allocate(4 * n), n)
  const values = numbers()
  const spare = allocateMatrix(team, n, n)
  const mark = team.mark()
  const vectors = allocateMatrix(team, n, n)
  const gathered = team.allocate(8 * n * n)
  const [z, z2, poles, found] = [numbers(), numbers(), numbers(), numbers()]
  return {
    work: { team, beside, values, spare, vectors, gathered, z, z2, poles, found, places: places(), order: places() },
    mark,
  }
}

interface Block {
  readonly from: number
  readonly size: number
}

/** The whole matrix, its halves, their halves and so on, until a block is small enough to be solved at once. */
function blocksOf(n: number): readonly (readonly Block[])[] {
  const levels: Block[][] = [[{ from: 0, size: n }]]
  while (levels.at(-1)!.some(({ size }) => size > LEAST))
    levels.push(
      levels.at(-1)!.flatMap(({ from, size }) => {
        const half = size >> 1
        return [
          { from, size: half },
          { from: from + half, size: size - half },
        ]
      }),
    )
  return levels
}

/** Tears the matrix: both diagonal elements at a cut lose the element that is cut. Then solves each block by itself. */
function solveBlocks(
  { team, beside, values, vectors, order }: Workspace,
  diagonal: Float64Array,
  blocks: readonly Block[],
): void {
  const n = diagonal.length
  const row = (index: number) => team.f64(vectors.at + index * n * 8, n)
  team.once(() => {
    values.set(diagonal)
    for (const { from } of blocks) {
      if (from === 0) continue
      const cut = Math.abs(beside[from - 1]!)
      values[from - 1]! -= cut
      values[from]! -= cut
    }
  })
  team.each(n, (index) => void row(index).fill(0))
  team.each(blocks.length, (share) => {
    const { from, size } = blocks[share]!
    const solved = small(values.subarray(from, from + size), beside.subarray(from, from + size - 1))
    for (let i = 0; i < size; i++) {
      values[from + i] = solved.values[i]!
      order[from + i] = from + i
      row(from + i).set(solved.vectors.subarray(i * size, (i + 1) * size), from)
    }
  })
}
