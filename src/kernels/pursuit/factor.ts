/** A Cholesky factor that grows by one row at a time, and the least squares that it solves. */

export interface Factor {
  readonly size: number
  /**
   * Adds a row with these products with the rows before it, and this squared norm. Returns the share of the square that the rows
   * before it do not explain; adds nothing if that is below `least`.
   */
  add(products: Float64Array, square: number, right: number, least: number): number
  /** The solution for the right sides so far. */
  solve(into: Float64Array): void
  /** The solution for another right side, which it replaces. */
  solveFor(right: Float64Array): void
  /** The squared norm of what the rows explain. */
  readonly explained: number
  /** A bound on the spectral norm of the factor's inverse. */
  readonly spread: number
  /** The norm of the sum of the rows with these coefficients. */
  normOf(coefficients: Float64Array): number
  reset(): void
}

export function factorOf(most: number): Factor {
  const lower = new Float64Array((most * (most + 1)) / 2)
  const forward = new Float64Array(most)
  const last = new Float64Array(most)
  const inverse = inverseOf(most)
  const at = (i: number, j: number): number => (i * (i + 1)) / 2 + j
  let size = 0
  const back = (x: Float64Array): void => {
    for (let i = size - 1; i >= 0; i--) {
      let sum = x[i]!
      for (let j = i + 1; j < size; j++) sum -= lower[at(j, i)]! * x[j]!
      x[i] = sum / lower[at(i, i)]!
    }
  }
  return {
    get size() {
      return size
    },
    get explained() {
      let sum = 0
      for (let i = 0; i < size; i++) sum += forward[i]! ** 2
      return sum
    },
    get spread() {
      return inverse.bound()
    },
    normOf(coefficients) {
      let norm = 0
      for (let j = 0; j < size; j++) {
        let sum = 0
        for (let i = j; i < size; i++) sum += lower[at(i, j)]! * coefficients[i]!
        norm += sum * sum
      }
      return Math.sqrt(norm)
    },
    add(products, own, right, least) {
      let rest = own
      let value = right
      const row = at(size, 0)
      for (let i = 0; i < size; i++) {
        let sum = products[i]!
        for (let j = 0; j < i; j++) sum -= lower[at(i, j)]! * lower[row + j]!
        const entry = sum / lower[at(i, i)]!
        lower[row + i] = entry
        rest -= entry * entry
        value -= entry * forward[i]!
      }
      const share = own > 0 ? rest / own : 0
      if (!(share >= least)) return share
      const pivot = Math.sqrt(rest)
      last.set(lower.subarray(row, row + size))
      back(last)
      inverse.add(last, size, pivot)
      lower[row + size] = pivot
      forward[size] = value / pivot
      size++
      return share
    },
    solve(into) {
      into.set(forward.subarray(0, size))
      back(into)
    },
    solveFor(right) {
      for (let i = 0; i < size; i++) {
        let sum = right[i]!
        for (let j = 0; j < i; j++) sum -= lower[at(i, j)]! * right[j]!
        right[i] = sum / lower[at(i, i)]!
      }
      back(right)
    },
    reset() {
      size = 0
      inverse.reset()
    },
  }
}

/** A bound on the spectral norm of the inverse of a factor, of which each new row is known. */
function inverseOf(most: number) {
  const columns = new Float64Array(most)
  let [squares, row, column] = [0, 0, 0]
  return {
    /** `before`: a row without its last number, which is 1, all divided by the pivot. */
    add(before: Float64Array, size: number, pivot: number): void {
      let [sum, square] = [1, 1]
      columns[size] = 1 / pivot
      for (let i = 0; i < size; i++) {
        const entry = Math.abs(before[i]!)
        sum += entry
        square += entry * entry
        columns[i] = columns[i]! + entry / pivot
        column = Math.max(column, columns[i]!)
      }
      column = Math.max(column, columns[size]!)
      row = Math.max(row, sum / pivot)
      squares += square / (pivot * pivot)
    },
    bound: (): number => Math.sqrt(Math.min(squares, row * column)),
    reset(): void {
      squares = 0
      row = 0
      column = 0
    },
  }
}
