/**
 * A symmetric matrix to tridiagonal form by Householder reflections in panels, as LAPACK's dsytrd does it: half the work in
 * products of a matrix and a vector, half in products of matrices.
 */
import { allocateMatrix, type Matrix, part, product, transposed } from './matrix.js'
import type { Team } from './team.js'

const PANEL = 32

/** QᵀAQ = T. */
export interface Tridiagonal {
  readonly diagonal: Float64Array
  readonly beside: Float64Array
  /** Row j: the j-th reflection's vector, its first element (1) at column j + 1, zeros before it. */
  readonly vectors: Matrix
  readonly factors: Float64Array
}

/** What a reduction works with. Addresses are of the team's memory. */
interface Workspace {
  readonly team: Team
  readonly a: Matrix
  readonly n: number
  /** Bytes of a row. */
  readonly stride: number
  /** The panel's vectors V, their partners W, and V again: V·Wᵀ + W·Vᵀ is one product of these. */
  readonly both: Matrix
  /** The product of A and the vector. */
  readonly raw: number
  /** This thread's own: the current column, which becomes the vector, and its products with V and W. */
  readonly own: number
  readonly inner: number
  readonly vector: Float64Array
  readonly diagonal: Float64Array
  readonly beside: Float64Array
  readonly factors: Float64Array
}

const rowAt = ({ a, stride }: Workspace, j: number) => a.at + j * stride
const vectorAt = ({ both, stride }: Workspace, c: number) => both.at + c * stride
const partnerAt = ({ both, stride }: Workspace, c: number) => both.at + (PANEL + c) * stride

/**
 * `a` is dense and whole, and becomes the vectors. Each thread has a fixed slice of every column, and threads meet twice for each
 * column: every thread computes what is short, so that none waits for it.
 */
export function tridiagonalize(team: Team, a: Matrix): Tridiagonal {
  const n = a.rows
  const stride = 8 * n
  const [diagonal, beside, factors] = [new Float64Array(n), new Float64Array(n), new Float64Array(n)]
  const mark = team.mark()
  const both = allocateMatrix(team, 3 * PANEL, n)
  const raw = team.allocate(stride)
  const own = team.scratch
  const vector = team.f64(own, n)
  const work = { team, a, n, stride, both, raw, own, inner: own + stride, vector, diagonal, beside, factors }
  for (let p = 0; p < n; p += PANEL) {
    const end = Math.min(n, p + PANEL)
    reducePanel(work, p, end)
    team.each(Math.min(end, n - 1) - p, (c) => team.f64(rowAt(work, p + c), n).set(team.f64(vectorAt(work, c), n)))
    updateRest(work, end)
  }
  team.release(mark)
  return { diagonal, beside, vectors: a, factors }
}

/** Columns p to `end`: a reflection for each, and the next column as it changes. */
function reducePanel(work: Workspace, p: number, end: number): void {
  const { team, n, vector } = work
  for (let j = p; j < end; j++) {
    vector.set(team.f64(rowAt(work, j), n).subarray(j), j)
    reflect(work, j)
    if (j === n - 1) break
    multiply(work, j, j - p)
    team.barrier()
    advance(work, j, j - p)
    team.barrier()
  }
}

/** A − VWᵀ − WVᵀ for the rows and columns from `end` on, those behind the panel. */
function updateRest({ team, a, n, both }: Workspace, end: number): void {
  const rest = n - end
  if (rest === 0) return
  const columns = part(both, 0, end, 2 * PANEL, rest)
  const partners = part(both, PANEL, end, 2 * PANEL, rest)
  product(team, part(a, end, end, rest, rest), transposed(columns), partners, {
    scale: -1,
    add: true,
    symmetric: true,
  })
}

/** Householder's reflection of the column from its diagonal element j on: its vector from j + 1 on, zeros before it. */
function reflect({ team, n, own, vector, diagonal, beside, factors }: Workspace, j: number): void {
  diagonal[j] = vector[j]!
  vector.fill(0, 0, j + 1)
  if (j === n - 1) return
  const first = vector[j + 1]!
  beside[j] = first
  vector[j + 1] = 1
  const at = own + 8 * (j + 2)
  const rest = j + 2 < n ? team.kernels.dot(at, at, n - j - 2) : 0
  if (!(rest > 0)) return
  const size = Math.sqrt(first * first + rest)
  const beta = first > 0 ? -size : size
  team.kernels.scale(at, 1 / (first - beta), n - j - 2)
  beside[j] = beta
  factors[j] = (beta - first) / beta
}

/** τ(A − VWᵀ − WVᵀ)v, A as it was before the panel, on this thread's slice. `done`: reflections of the panel before this one. */
function multiply(work: Workspace, j: number, done: number): void {
  const { team, n, stride, raw, own, inner, vector, factors } = work
  const { kernels } = team
  const [vectors, partners] = [vectorAt(work, 0), partnerAt(work, 0)]
  const v = own + 8 * (j + 1)
  const rest = n - j - 1
  const [from, count] = slice(team, j + 1, n)
  const out = raw + 8 * from
  kernels.rowsDot(rowAt(work, from) + 8 * (j + 1), stride, count, rest, v, out)
  kernels.rowsDot(partners + 8 * (j + 1), stride, done, rest, v, inner)
  kernels.rowsDot(vectors + 8 * (j + 1), stride, done, rest, v, inner + 8 * PANEL)
  kernels.rowsSum(out, vectors + 8 * from, stride, done, count, inner, 8, -1)
  kernels.rowsSum(out, partners + 8 * from, stride, done, count, inner + 8 * PANEL, 8, -1)
  kernels.scale(out, factors[j]!, count)
  for (const copy of [vectorAt(work, done), vectorAt(work, 2 * PANEL + done)]) {
    team.f64(copy + 8 * from, count).set(vector.subarray(from, from + count))
    if (team.thread === 0) team.f64(copy, j + 1).fill(0)
  }
}

/** The vector's partner, and column j + 1 with all changes of the panel so far, on this thread's slice. */
function advance(work: Workspace, j: number, done: number): void {
  const { team, n, stride, raw, own, factors } = work
  const { kernels } = team
  const [vectors, partners] = [vectorAt(work, 0), partnerAt(work, 0)]
  const factor = -0.5 * factors[j]! * kernels.dot(raw + 8 * (j + 1), own + 8 * (j + 1), n - j - 1)
  const [from, count] = slice(team, j + 1, n)
  const partner = partnerAt(work, done) + 8 * from
  team.f64(partner, count).set(team.f64(raw + 8 * from, count))
  kernels.axpy(partner, own + 8 * from, factor, count)
  if (done === PANEL - 1) return
  const column = rowAt(work, j + 1) + 8 * from
  // Another thread may not have written element j + 1 of the new partner yet, so each thread computes it again.
  const pivot = team.f64(raw + 8 * (j + 1), 1)[0]! + factor
  kernels.rowsSum(column, vectors + 8 * from, stride, done, count, partners + 8 * (j + 1), stride, -1)
  kernels.axpy(column, own + 8 * from, -pivot, count)
  kernels.rowsSum(column, partners + 8 * from, stride, done, count, vectors + 8 * (j + 1), stride, -1)
  kernels.axpy(column, partner, -1, count)
}

/** This thread's share of the elements from `start` to before n: the first, and how many. */
function slice({ thread, threads }: Team, start: number, n: number): [from: number, count: number] {
  const from = start + Math.floor(((n - start) * thread) / threads)
  return [from, start + Math.floor(((n - start) * (thread + 1)) / threads) - from]
}

const BLOCK = 128

/** Rows x of X to rows (Q x)ᵀ: eigenvectors of T to those of A. */
export function reflectBack(team: Team, { vectors, factors }: Tridiagonal, x: Matrix): void {
  const n = vectors.columns
  if (n < 3 || x.rows === 0) return
  const mark = team.mark()
  const gram = allocateMatrix(team, BLOCK, BLOCK)
  const triangle = allocateMatrix(team, BLOCK, BLOCK)
  const [y, z] = [allocateMatrix(team, x.rows, BLOCK), allocateMatrix(team, x.rows, BLOCK)]
  const last = Math.floor((n - 3) / BLOCK) * BLOCK
  for (let p = last; p >= 0; p -= BLOCK) {
    const count = Math.min(BLOCK, n - 2 - p)
    const v = part(vectors, p, p + 1, count, n - p - 1)
    const [g, t] = [part(gram, 0, 0, count, count), part(triangle, 0, 0, count, count)]
    product(team, g, v, transposed(v))
    team.once(() => {
      const [dots, values] = [team.f64(gram.at, BLOCK * BLOCK), team.f64(triangle.at, BLOCK * BLOCK)]
      values.fill(0)
      // H_p … H_{p+count−1} = I − Vᵀ T V with an upper triangular T.
      for (let c = 0; c < count; c++) {
        const tau = factors[p + c]!
        values[c * BLOCK + c] = tau
        for (let i = 0; i < c; i++) {
          let sum = 0
          for (let k = i; k < c; k++) sum += values[i * BLOCK + k]! * dots[k * BLOCK + c]!
          values[i * BLOCK + c] = -tau * sum
        }
      }
    })
    const right = part(x, 0, p + 1, x.rows, n - p - 1)
    const [first, second] = [part(y, 0, 0, x.rows, count), part(z, 0, 0, x.rows, count)]
    product(team, first, right, transposed(v))
    product(team, second, first, transposed(t))
    product(team, right, second, v, { scale: -1, add: true })
  }
  team.release(mark)
}
