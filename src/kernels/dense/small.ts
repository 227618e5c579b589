/** Eigenvectors of a small symmetric tridiagonal matrix by implicit QL steps (EISPACK's tql2), in plain JavaScript. */
export interface Small {
  /** Rising. */
  readonly values: Float64Array
  /** Row i: the vector of value i. */
  readonly vectors: Float64Array
}

const ROUNDS = 60

export function small(diagonal: Float64Array, beside: Float64Array): Small {
  const n = diagonal.length
  const d = Float64Array.from(diagonal)
  const e = new Float64Array(n)
  e.set(beside)
  const rows = Array.from({ length: n }, (_, i) => Float64Array.from({ length: n }, (_, j) => (i === j ? 1 : 0)))
  for (let low = 0; low < n; low++) {
    for (let round = 0; round < ROUNDS; round++) {
      let high = low
      while (high < n - 1 && Math.abs(e[high]!) > 2 ** -53 * (Math.abs(d[high]!) + Math.abs(d[high + 1]!))) high++
      if (high === low) break
      step(d, e, rows, low, high)
    }
  }
  const order = [...d.keys()].sort((a, b) => d[a]! - d[b]! || a - b)
  const vectors = new Float64Array(n * n)
  for (const [rank, index] of order.entries()) vectors.set(rows[index]!, rank * n)
  return { values: Float64Array.from(order, (index) => d[index]!), vectors }
}

/** One QL step with Wilkinson's shift on the elements `low` to `high`. */
function step(d: Float64Array, e: Float64Array, rows: readonly Float64Array[], low: number, high: number): void {
  const half = (d[low + 1]! - d[low]!) / (2 * e[low]!)
  const root = Math.sqrt(half * half + 1)
  let g = d[high]! - d[low]! + e[low]! / (half + (half < 0 ? -root : root))
  let [s, c, p] = [1, 1, 0]
  for (let i = high - 1; i >= low; i--) {
    const f = s * e[i]!
    const b = c * e[i]!
    const size = Math.sqrt(f * f + g * g)
    e[i + 1] = size
    if (size === 0) {
      d[i + 1]! -= p
      e[high] = 0
      return
    }
    s = f / size
    c = g / size
    g = d[i + 1]! - p
    const r = (d[i]! - g) * s + 2 * c * b
    p = s * r
    d[i + 1] = g + p
    g = c * r - b
    const [x, y] = [rows[i]!, rows[i + 1]!]
    for (let k = 0; k < x.length; k++) {
      const [left, right] = [x[k]!, y[k]!]
      y[k] = s * left + c * right
      x[k] = c * left - s * right
    }
  }
  d[low]! -= p
  e[low] = g
  e[high] = 0
}
