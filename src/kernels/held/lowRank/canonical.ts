/**
 * One choice among the singular vectors that are all valid. Singular vectors have no sign, and vectors of equal singular values
 * can be rotated among each other. The choice must depend on what the vectors span, and not on how it was computed.
 */

/** Singular values that differ by less than this part count as equal. */
const EQUAL = 1e-6
/** Of pivots that differ by less than this part, the first counts. */
const SAME_PIVOT = 1e-6

/**
 * Among vectors of equal singular values: the first is the projection of the axis that lies closest to their span, the second
 * the same among what is orthogonal to the first, and so on. Of each vector, the element of the largest magnitude is positive.
 *
 * `own`: the vectors, changed in place. `beside`: the same vectors in other coordinates, which get the same changes.
 */
export function canonical(
  values: readonly number[],
  own: (row: number) => Float64Array,
  beside: (row: number) => Float64Array,
): void {
  for (let first = 0; first < values.length; ) {
    let end = first + 1
    while (end < values.length && values[end]! >= values[end - 1]! * (1 - EQUAL)) end++
    for (let row = first; row < end - 1; row++) {
      const axis = closestAxis(own, row, end)
      const shares = Array.from({ length: end - row }, (_, k) => own(row + k)[axis]!)
      for (const of of [own, beside]) reflect(of, row, shares)
    }
    first = end
  }
  for (let row = 0; row < values.length; row++)
    if (leading(own(row)) < 0)
      for (const of of [own, beside]) {
        const vector = of(row)
        for (let i = 0; i < vector.length; i++) vector[i] = -vector[i]!
      }
}

/** The axis with the longest projection onto the vectors from `row` to before `end`. */
function closestAxis(own: (row: number) => Float64Array, row: number, end: number): number {
  const lengths = new Float64Array(own(row).length)
  for (let k = row; k < end; k++) {
    const vector = own(k)
    for (let i = 0; i < lengths.length; i++) lengths[i]! += vector[i]! * vector[i]!
  }
  const most = lengths.reduce((largest, length) => Math.max(largest, length), 0)
  return lengths.findIndex((length) => length >= most * (1 - SAME_PIVOT))
}

/** Householder's reflection of the rows from `first` on that makes the first of them Σ shares_k · row_k, of length 1. */
function reflect(of: (row: number) => Float64Array, first: number, shares: readonly number[]): void {
  const length = Math.sqrt(shares.reduce((sum, share) => sum + share * share, 0))
  const [head = 0] = shares
  const beta = head > 0 ? -length : length
  const vector = [head - beta, ...shares.slice(1)]
  const square = vector.reduce((sum, x) => sum + x * x, 0)
  if (!(square > 0)) return
  const rows = shares.map((_, k) => of(first + k))
  for (let i = 0; i < rows[0]!.length; i++) {
    let along = 0
    for (const [k, row] of rows.entries()) along += vector[k]! * row[i]!
    for (const [k, row] of rows.entries()) row[i]! -= (2 * along * vector[k]!) / square
  }
}

/** The element of the largest magnitude, the first of nearly equal ones. */
function leading(vector: Float64Array): number {
  const most = vector.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0)
  return vector.find((x) => Math.abs(x) >= most * (1 - SAME_PIVOT)) ?? 0
}
