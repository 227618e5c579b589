/** Small dense matrices in float64 and a plain Jacobi singular value decomposition: slow, short, accurate. */

export interface Matrix {
  readonly rows: number
  readonly columns: number
  /** Row-major. */
  readonly values: Float64Array
}

export const matrix = (rows: number, columns: number, values?: ArrayLike<number>): Matrix => ({
  rows,
  columns,
  values: values === undefined ? new Float64Array(rows * columns) : Float64Array.from(values),
})

export function transposed(a: Matrix): Matrix {
  const out = matrix(a.columns, a.rows)
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < a.columns; j++) out.values[j * a.rows + i] = a.values[i * a.columns + j]!
  return out
}

export function product(a: Matrix, b: Matrix): Matrix {
  const out = matrix(a.rows, b.columns)
  for (let i = 0; i < a.rows; i++)
    for (let k = 0; k < a.columns; k++) {
      const left = a.values[i * a.columns + k]!
      for (let j = 0; j < b.columns; j++) out.values[i * b.columns + j]! += left * b.values[k * b.columns + j]!
    }
  return out
}

/** Σ c_i A_i. */
export function combination(matrices: readonly Matrix[], coefficients: readonly number[]): Matrix {
  const out = matrix(matrices[0]!.rows, matrices[0]!.columns)
  matrices.forEach((a, which) => {
    for (let i = 0; i < out.values.length; i++) out.values[i]! += coefficients[which]! * a.values[i]!
  })
  return out
}

/** [A_1 A_2 …], side by side. */
export function besides(matrices: readonly Matrix[]): Matrix {
  const rows = matrices[0]!.rows
  const out = matrix(
    rows,
    matrices.reduce((total, a) => total + a.columns, 0),
  )
  let from = 0
  for (const a of matrices) {
    for (let i = 0; i < rows; i++)
      out.values.set(a.values.subarray(i * a.columns, (i + 1) * a.columns), i * out.columns + from)
    from += a.columns
  }
  return out
}

/** Columns from … to − 1. */
export function columns(a: Matrix, from: number, to: number): Matrix {
  const out = matrix(a.rows, to - from)
  for (let i = 0; i < a.rows; i++)
    out.values.set(a.values.subarray(i * a.columns + from, i * a.columns + to), i * (to - from))
  return out
}

/** A with column j multiplied by factors[j]. */
export const scaledColumns = (a: Matrix, factors: readonly number[]): Matrix => ({
  ...a,
  values: a.values.map((value, at) => value * factors[at % a.columns]!),
})

/**
 * Singular values up to this part of the largest count as 0, and their vectors, which rounding alone chooses, are left out:
 * above the square root of float64's precision, so that an eigenvalue solver on a Gram matrix can decide the same.
 */
export const RANK_TOLERANCE = 1e-6

export interface Decomposition {
  /** [rows, rank]. */
  readonly left: Matrix
  /** Falling, `rank` of them. */
  readonly values: readonly number[]
  /** [columns, rank]. */
  readonly right: Matrix
}

/** A = left · diag(values) · rightᵀ by one-sided Jacobi rotations of the columns (of the rows, where they are fewer). */
export function svd(a: Matrix): Decomposition {
  if (a.rows < a.columns) {
    const { left, values, right } = svd(transposed(a))
    return { left: right, values, right: left }
  }
  const n = a.columns
  const work = Array.from({ length: n }, (_, j) =>
    Float64Array.from({ length: a.rows }, (_, i) => a.values[i * n + j]!),
  )
  const turns = Array.from({ length: n }, (_, j) => Float64Array.from({ length: n }, (_, i) => (i === j ? 1 : 0)))
  for (let sweep = 0, turned = true; turned; sweep++) {
    if (sweep === 60) throw new Error('internal: the Jacobi sweeps do not converge')
    turned = false
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        const [x, y] = [work[p]!, work[q]!]
        const [alpha, beta, gamma] = [inner(x, x), inner(y, y), inner(x, y)]
        if (gamma === 0 || Math.abs(gamma) <= 1e-15 * Math.sqrt(alpha * beta)) continue
        turned = true
        const zeta = (beta - alpha) / (2 * gamma)
        const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta))
        const cosine = 1 / Math.sqrt(1 + tangent * tangent)
        rotate(x, y, cosine, cosine * tangent)
        rotate(turns[p]!, turns[q]!, cosine, cosine * tangent)
      }
  }
  const sizes = work.map((column) => Math.sqrt(inner(column, column)))
  const order = sizes.map((_, j) => j).sort((i, j) => sizes[j]! - sizes[i]! || i - j)
  const kept = order.filter((j) => sizes[j]! > RANK_TOLERANCE * sizes[order[0]!]!)
  const gather = (vectors: readonly Float64Array[], rows: number, divide: boolean) => {
    const out = matrix(rows, kept.length)
    kept.forEach((j, at) => {
      for (let i = 0; i < rows; i++) out.values[i * kept.length + at] = vectors[j]![i]! / (divide ? sizes[j]! : 1)
    })
    return out
  }
  return { left: gather(work, a.rows, true), values: kept.map((j) => sizes[j]!), right: gather(turns, n, false) }
}

function inner(x: Float64Array, y: Float64Array): number {
  let total = 0
  for (let i = 0; i < x.length; i++) total += x[i]! * y[i]!
  return total
}

function rotate(x: Float64Array, y: Float64Array, cosine: number, sine: number): void {
  for (let i = 0; i < x.length; i++) {
    const [left, right] = [x[i]!, y[i]!]
    x[i] = cosine * left - sine * right
    y[i] = sine * left + cosine * right
  }
}

/** Σ u_k v_kᵀ over the singular vectors of A: the nearest matrix with orthonormal columns or rows, on A's own range. */
export function polar(a: Matrix): Matrix {
  const { left, right } = svd(a)
  return product(left, transposed(right))
}
