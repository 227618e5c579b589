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

/**
 * `a` is dense and whole, and becomes the vectors. Each thread has a fixed slice of every column, and threads meet twice a
 * column: what is short is worked out by all of them alike rather than waited for.
 */
export function tridiagonalize(team: Team, a: Matrix): Tridiagonal {
  const n = a.rows
  const { kernels } = team
  const [diagonal, beside, factors] = [new Float64Array(n), new Float64Array(n), new Float64Array(n)]
  const mark = team.mark()
  // Vectors V, their partners W, and V again: V·Wᵀ + W·Vᵀ is one product of these.
  const both = allocateMatrix(team, 3 * PANEL, n)
  const raw = team.allocate(8 * n)
  const stride = 8 * n
  const rowAt = (j: number) => a.at + j * stride
  const vectorAt = (c: number) => both.at + c * stride
  const partnerAt = (c: number) => both.at + (PANEL + c) * stride
  // Of this thread alone: the column under way, which becomes the vector, and its products with V and W.
  const own = team.scratch
  const inner = own + stride
  const vector = team.f64(own, n)

  /** Householder's reflection of the column from its diagonal element j on: its vector from j + 1 on, zeros before it. */
  function reflect(j: number): void {
    diagonal[j] = vector[j]!
    vector.fill(0, 0, j + 1)
    if (j === n - 1) return
    const first = vector[j + 1]!
    beside[j] = first
    vector[j + 1] = 1
    const at = own + 8 * (j + 2)
    const rest = j + 2 < n ? kernels.dot(at, at, n - j - 2) : 0
    if (!(rest > 0)) return
    const size = Math.sqrt(first * first + rest)
    const beta = first > 0 ? -size : size
    kernels.scale(at, 1 / (first - beta), n - j - 2)
    beside[j] = beta
    factors[j] = (beta - first) / beta
  }

  /** τ(A − VWᵀ − WVᵀ)v, A as it was before the panel, on this thread's slice. */
  function multiply(j: number, done: number): void {
    const v = own + 8 * (j + 1)
    const rest = n - j - 1
    const [from, count] = slice(team, j + 1, n)
    const out = raw + 8 * from
    kernels.rowsDot(rowAt(from) + 8 * (j + 1), stride, count, rest, v, out)
    kernels.rowsDot(partnerAt(0) + 8 * (j + 1), stride, done, rest, v, inner)
    kernels.rowsDot(vectorAt(0) + 8 * (j + 1), stride, done, rest, v, inner + 8 * PANEL)
    kernels.rowsSum(out, vectorAt(0) + 8 * from, stride, done, count, inner, 8, -1)
    kernels.rowsSum(out, partnerAt(0) + 8 * from, stride, done, count, inner + 8 * PANEL, 8, -1)
    kernels.scale(out, factors[j]!, count)
    for (const copy of [vectorAt(done), vectorAt(2 * PANEL + done)]) {
      team.f64(copy + 8 * from, count).set(vector.subarray(from, from + count))
      if (team.thread === 0) team.f64(copy, j + 1).fill(0)
    }
  }

  /** The vector's partner, and column j + 1 with all that the panel has changed in it so far, on this thread's slice. */
  function advance(j: number, done: number): void {
    const factor = -0.5 * factors[j]! * kernels.dot(raw + 8 * (j + 1), own + 8 * (j + 1), n - j - 1)
    const [from, count] = slice(team, j + 1, n)
    const partner = partnerAt(done) + 8 * from
    team.f64(partner, count).set(team.f64(raw + 8 * from, count))
    kernels.axpy(partner, own + 8 * from, factor, count)
    if (done === PANEL - 1) return
    const column = rowAt(j + 1) + 8 * from
    // Nobody else's part of the new partner is looked at: its element j + 1 is worked out again.
    const pivot = team.f64(raw + 8 * (j + 1), 1)[0]! + factor
    kernels.rowsSum(column, vectorAt(0) + 8 * from, stride, done, count, partnerAt(0) + 8 * (j + 1), stride, -1)
    kernels.axpy(column, own + 8 * from, -pivot, count)
    kernels.rowsSum(column, partnerAt(0) + 8 * from, stride, done, count, vectorAt(0) + 8 * (j + 1), stride, -1)
    kernels.axpy(column, partner, -1, count)
  }

  for (let p = 0; p < n; p += PANEL) {
    const end = Math.min(n, p + PANEL)
    for (let j = p; j < end; j++) {
      vector.set(team.f64(rowAt(j), n).subarray(j), j)
      reflect(j)
      if (j === n - 1) break
      multiply(j, j - p)
      team.barrier()
      advance(j, j - p)
      team.barrier()
    }
    team.each(Math.min(end, n - 1) - p, (c) => team.f64(rowAt(p + c), n).set(team.f64(vectorAt(c), n)))
    const rest = n - end
    if (rest === 0) continue
    const columns = part(both, 0, end, 2 * PANEL, rest)
    const partners = part(both, PANEL, end, 2 * PANEL, rest)
    product(team, part(a, end, end, rest, rest), transposed(columns), partners, {
      scale: -1,
      add: true,
      symmetric: true,
    })
  }
  team.release(mark)
  return { diagonal, beside, vectors: a, factors }
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
