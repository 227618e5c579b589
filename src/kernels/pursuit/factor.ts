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
  reset(): void
}

export function factorOf(most: number): Factor {
  const lower = new Float64Array((most * (most + 1)) / 2)
  const forward = new Float64Array(most)
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
    add(products, square, right, least) {
      let rest = square
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
      const share = square > 0 ? rest / square : 0
      if (!(share >= least)) return share
      const pivot = Math.sqrt(rest)
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
    },
  }
}
