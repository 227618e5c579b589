/** Eigenvalues and eigenvectors of a small symmetric matrix by Jacobi's rotations, in the order of its rows. */

const SWEEPS = 50

export interface Spectrum {
  readonly values: readonly number[]
  /** Column j: the vector of value j. */
  readonly vectors: readonly (readonly number[])[]
}

/** The rotation that makes element (p, q) zero. */
function rotate(a: number[][], v: number[][], p: number, q: number): void {
  const theta = (a[q]![q]! - a[p]![p]!) / (2 * a[p]![q]!)
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
  const c = 1 / Math.sqrt(t * t + 1)
  const s = t * c
  for (const rows of [a, v])
    for (const row of rows) {
      const [x, y] = [row[p]!, row[q]!]
      row[p] = c * x - s * y
      row[q] = s * x + c * y
    }
  for (let k = 0; k < a.length; k++) {
    const [x, y] = [a[p]![k]!, a[q]![k]!]
    a[p]![k] = c * x - s * y
    a[q]![k] = s * x + c * y
  }
  a[p]![q] = 0
  a[q]![p] = 0
}

export function jacobi(matrix: readonly (readonly number[])[]): Spectrum {
  const n = matrix.length
  const a = matrix.map((row) => [...row])
  const v = matrix.map((_, i) => matrix.map((_, j) => (i === j ? 1 : 0)))
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    let rotations = 0
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        const size = Math.sqrt(Math.abs(a[p]![p]! * a[q]![q]!))
        if (Math.abs(a[p]![q]!) <= 1e-16 * size || a[p]![q] === 0) continue
        rotate(a, v, p, q)
        rotations++
      }
    if (rotations === 0) break
  }
  return { values: a.map((row, i) => row[i]!), vectors: v }
}
