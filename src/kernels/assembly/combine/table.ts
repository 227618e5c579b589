/**
 * linear, or task where there is a base, with coefficients of their own for each row or column: from the table, an input
 * each. A coefficient of exactly 0 leaves its input out; the sum starts with the first product.
 */
import { base, input, inputCount, output, rowLength, table } from '../memory/context'
import { isShared, limitOf, minus1 } from '../memory/equal'

// @ts-ignore: decorator
@inline
function combine<C>(context: usize, offset: usize, entry: usize, count: u32): void {
  const b = base(context)
  const origin = b ? load<C>(b + offset) : <C>0
  let sum: C = 0, first = true, total: f64 = 0, magnitude: f64 = 0
  for (let i: u32 = 0; i < count; i++) {
    const coefficient = load<f64>(entry + (i << 3))
    if (coefficient == 0) continue
    const x = load<C>(input(context, i) + offset)
    const product = <C>coefficient * (b ? minus1<C>(x, origin) : x)
    sum = first ? product : sum + product
    first = false
    total += coefficient
    magnitude += abs<f64>(coefficient)
  }
  // An infinity that all inputs share: the limit.
  if (!b && sum != sum && isShared<C>(context, offset))
    sum = limitOf<C>(load<C>(input(context, 0) + offset), total, magnitude)
  store<C>(output(context) + offset, b ? origin + sum : sum)
}

// @ts-ignore: decorator
@inline
function byRow<C>(context: usize, n: usize): void {
  const length = rowLength(context), count = inputCount(context)
  let entry = table(context)
  for (let row: usize = 0; row < n; row += length) {
    for (let i = row; i < row + length; i++) combine<C>(context, i * sizeof<C>(), entry, count)
    entry += count << 3
  }
}

// @ts-ignore: decorator
@inline
function byColumn<C>(context: usize, n: usize): void {
  const count = inputCount(context), entries = table(context)
  // The table's first number says how many columns follow.
  const columns = <u64>load<f64>(entries)
  let column = load<u64>(context, 24) % columns
  for (let i: usize = 0; i < n; i++) {
    combine<C>(context, i * sizeof<C>(), entries + 8 + <usize>column * (count << 3), count)
    if (++column == columns) column = 0
  }
}

export function byRow_f32(context: usize, n: usize): void { byRow<f32>(context, n) }
export function byRow_f64(context: usize, n: usize): void { byRow<f64>(context, n) }
export function byColumn_f32(context: usize, n: usize): void { byColumn<f32>(context, n) }
export function byColumn_f64(context: usize, n: usize): void { byColumn<f64>(context, n) }
