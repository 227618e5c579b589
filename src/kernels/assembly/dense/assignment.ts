// Linear assignment (maximise Σ score[i, column(i)]) by shortest augmenting paths: Jonker & Volgenant, "A shortest
// augmenting path algorithm for dense and sparse linear assignment problems", Computing 38, 1987. Costs are the negated
// float32 scores; column prices and path lengths are float64. Ties go to the lowest column, so the result is a function of
// the scores and the starting prices alone.

// @ts-ignore: decorator
@inline
function cost(c: usize, n: i32, i: i32, j: i32): f64 {
  return -(<f64>load<f32>(c + ((<usize>i * <usize>n + <usize>j) << 2)))
}

// @ts-ignore: decorator
@inline
function at32(p: usize, i: i32): i32 {
  return load<i32>(p + (<usize>i << 2))
}

// @ts-ignore: decorator
@inline
function put32(p: usize, i: i32, x: i32): void {
  store<i32>(p + (<usize>i << 2), x)
}

// @ts-ignore: decorator
@inline
function at64(p: usize, i: i32): f64 {
  return load<f64>(p + (<usize>i << 3))
}

// @ts-ignore: decorator
@inline
function put64(p: usize, i: i32, x: f64): void {
  store<f64>(p + (<usize>i << 3), x)
}

let least: f64 = 0
let second: f64 = 0
let leastAt: i32 = -1
let secondAt: i32 = -1

/** Smallest and second smallest of cost − price in row i, with their columns; n ≥ 2. */
function twoLeast(c: usize, prices: usize, n: i32, i: i32): void {
  let row = c + (<usize>i * <usize>n << 2)
  let v = prices
  // Four lanes of minima would lose the columns; blocks of 4 are only entered when one of them beats the second least.
  let a = Infinity, b = Infinity
  let ja = -1, jb = -1
  const even = n & ~3
  let bound = f64x2.splat(Infinity)
  for (let j = 0; j < even; j += 4) {
    const x = v128.load(row)
    const lo = f64x2.neg(f64x2.add(f64x2.promote_low_f32x4(x), v128.load(v)))
    const hi = f64x2.neg(f64x2.add(f64x2.promote_low_f32x4(v128.shuffle<u32>(x, x, 2, 3, 2, 3)), v128.load(v, 16)))
    if (v128.any_true(v128.or(f64x2.lt(lo, bound), f64x2.lt(hi, bound)))) {
      for (let l = 0; l < 4; l++) {
        const r = -(<f64>load<f32>(row + (<usize>l << 2)) + load<f64>(v + (<usize>l << 3)))
        if (r < b) {
          if (r < a) {
            b = a
            jb = ja
            a = r
            ja = j + l
          } else {
            b = r
            jb = j + l
          }
        }
      }
      bound = f64x2.splat(b)
    }
    row += 16
    v += 32
  }
  for (let j = even; j < n; j++) {
    const r = cost(c, n, i, j) - at64(prices, j)
    if (r < b) {
      if (r < a) {
        b = a
        jb = ja
        a = r
        ja = j
      } else {
        b = r
        jb = j
      }
    }
  }
  least = a
  second = b
  leastAt = ja
  secondAt = jb
}

/**
 * c: n × n float32 scores, n ≥ 1, all finite. rowOf, columnOf: n i32 each. prices: n f64. work: 24 n bytes.
 * warm = 0: starts from nothing. warm = 1: `prices` and `columnOf` hold a former solution (any numbers are valid prices, any
 * permutation a valid assignment): pairs that are still the cheapest of their row stay.
 * Afterwards columnOf[i] is the column of row i, rowOf its inverse, prices the dual prices of the columns.
 */
export function assignment(c: usize, n: i32, columnOf: usize, rowOf: usize, prices: usize, work: usize, warm: i32): void {
  const length = work
  const before = length + (<usize>n << 3)
  const columns = before + (<usize>n << 2)
  const free = columns + (<usize>n << 2)
  if (n == 1) {
    put32(columnOf, 0, 0)
    put32(rowOf, 0, 0)
    return
  }
  let frees = 0
  if (warm) frees = keepCheapest(c, n, columnOf, rowOf, prices, free)
  else {
    reduceColumns(c, n, columnOf, rowOf, prices)
    frees = transferReduction(c, n, columnOf, prices, free)
  }
  for (let round = 0; round < 2 && frees > 0; round++) frees = reduceRows(c, n, columnOf, rowOf, prices, free, frees)
  for (let f = 0; f < frees; f++) augment(c, n, at32(free, f), columnOf, rowOf, prices, length, before, columns)
}

/** Keeps the pairs of a former solution that are still the cheapest of their row. Writes the other rows to `free`, and returns how many. */
function keepCheapest(c: usize, n: i32, columnOf: usize, rowOf: usize, prices: usize, free: usize): i32 {
  let frees = 0
  for (let j = 0; j < n; j++) put32(rowOf, j, -1)
  for (let i = 0; i < n; i++) {
    const j = at32(columnOf, i)
    twoLeast(c, prices, n, i)
    if (cost(c, n, i, j) - at64(prices, j) == least) put32(rowOf, j, i)
    else {
      put32(columnOf, i, -1)
      put32(free, frees++, i)
    }
  }
  return frees
}

/** Column reduction: every column's price is its least cost, and the column goes to that row if the row is still free. */
function reduceColumns(c: usize, n: i32, columnOf: usize, rowOf: usize, prices: usize): void {
  for (let j = 0; j < n; j++) {
    put64(prices, j, cost(c, n, 0, j))
    put32(rowOf, j, 0)
  }
  for (let i = 1; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const x = cost(c, n, i, j)
      if (x < at64(prices, j)) {
        put64(prices, j, x)
        put32(rowOf, j, i)
      }
    }
  }
  for (let i = 0; i < n; i++) put32(columnOf, i, -1)
  for (let j = n - 1; j >= 0; j--) {
    const i = at32(rowOf, j)
    if (at32(columnOf, i) < 0) put32(columnOf, i, j)
    else put32(rowOf, j, -1)
  }
}

/**
 * Reduction transfer: an assigned column's price falls by what the row's second choice leaves. Writes rows without a column to `free`,
 * and returns how many.
 */
function transferReduction(c: usize, n: i32, columnOf: usize, prices: usize, free: usize): i32 {
  let frees = 0
  for (let i = 0; i < n; i++) {
    const j = at32(columnOf, i)
    if (j < 0) put32(free, frees++, i)
    else {
      twoLeast(c, prices, n, i)
      const next = leastAt == j ? second : least
      const gap = next - (cost(c, n, i, j) - at64(prices, j))
      if (gap > 0) put64(prices, j, at64(prices, j) - gap)
    }
  }
  return frees
}

/** Augmenting row reduction: a free row takes its best column and pays up to its second best. Returns how many rows are free after it. */
function reduceRows(c: usize, n: i32, columnOf: usize, rowOf: usize, prices: usize, free: usize, last: i32): i32 {
  let k = 0
  let frees = 0
  // Displaced rows go again at once while the price moves; the bound keeps rounding from making that endless.
  let budget = <i64>n * 8
  while (k < last) {
    const i = at32(free, k++)
    twoLeast(c, prices, n, i)
    let j = leastAt
    let other = at32(rowOf, j)
    const lowered = at64(prices, j) - (second - least)
    const moved = lowered < at64(prices, j)
    if (moved) put64(prices, j, lowered)
    else if (other >= 0) {
      j = secondAt
      other = at32(rowOf, j)
    }
    put32(columnOf, i, j)
    put32(rowOf, j, i)
    if (other >= 0) {
      put32(columnOf, other, -1)
      if (moved && budget > 0) {
        budget--
        put32(free, --k, other)
      } else put32(free, frees++, other)
    }
  }
  return frees
}

/** Dijkstra over reduced costs from a free row to the nearest free column, then the new prices and the path's swap. */
function augment(
  c: usize, n: i32, start: i32, columnOf: usize, rowOf: usize, prices: usize, length: usize, before: usize, columns: usize,
): void {
  for (let j = 0; j < n; j++) {
    put64(length, j, cost(c, n, start, j) - at64(prices, j))
    put32(before, j, start)
    put32(columns, j, j)
  }
  // columns[0, low) are done, [low, up) are as near as the nearest, [up, n) wait.
  let low = 0, up = 0, done = 0, end = -1
  let near = 0.0
  while (end < 0) {
    if (low == up) {
      done = low
      near = at64(length, at32(columns, up++))
      for (let k = up; k < n; k++) {
        const j = at32(columns, k)
        const d = at64(length, j)
        if (d <= near) {
          if (d < near) {
            up = low
            near = d
          }
          put32(columns, k, at32(columns, up))
          put32(columns, up++, j)
        }
      }
      for (let k = low; k < up; k++) {
        const j = at32(columns, k)
        if (at32(rowOf, j) < 0) {
          end = j
          break
        }
      }
    }
    while (end < 0 && low < up) {
      const from = at32(columns, low++)
      const i = at32(rowOf, from)
      const h = cost(c, n, i, from) - at64(prices, from) - near
      const row = c + (<usize>i * <usize>n << 2)
      for (let k = up; k < n; k++) {
        const j = at32(columns, k)
        const d = -(<f64>load<f32>(row + (<usize>j << 2))) - at64(prices, j) - h
        if (d < at64(length, j)) {
          put32(before, j, i)
          put64(length, j, d)
          if (d <= near) {
            if (at32(rowOf, j) < 0) {
              end = j
              break
            }
            put32(columns, k, at32(columns, up))
            put32(columns, up++, j)
          }
        }
      }
    }
  }
  for (let k = 0; k < done; k++) {
    const j = at32(columns, k)
    put64(prices, j, at64(prices, j) + at64(length, j) - near)
  }
  let j = end
  while (true) {
    const i = at32(before, j)
    put32(rowOf, j, i)
    const next = at32(columnOf, i)
    put32(columnOf, i, j)
    if (i == start) break
    j = next
  }
}
