/**
 * Blocks of FP8. largest: by row, the largest finite magnitude of each run of columns. quotients: elements divided by the
 * number of their run, from a table with the numbers of each row. The coefficient is the number of columns in a run.
 */
import { coefficients, first, input, output, rowLength, sums, table } from '../memory/context'

// @ts-ignore: decorator
@inline
function largest<C>(context: usize, n: usize): void {
  const run = <usize>load<f64>(coefficients(context))
  const x = input(context, 0), out = sums(context)
  for (let start: usize = 0, slot: usize = 0; start < n; start += run, slot++) {
    const end = min<usize>(n, start + run)
    let most: C = 0
    for (let i = start; i < end; i++) {
      const size = abs<C>(load<C>(x + i * sizeof<C>()))
      // Neither NaN nor infinity.
      if (size > most && size - size == 0) most = size
    }
    const at = out + (slot << 3)
    store<f64>(at, max<f64>(load<f64>(at), <f64>most))
  }
}

// @ts-ignore: decorator
@inline
function quotients<C>(context: usize, n: usize): void {
  const run = <usize>load<f64>(coefficients(context)), columns = rowLength(context)
  const slots = (columns + run - 1) / run
  const x = input(context, 0), out = output(context)
  let entry = table(context), column = <usize>(first(context) % <u64>columns)
  for (let i: usize = 0; i < n; ) {
    const end = min<usize>(n, i + min<usize>(columns, (column / run + 1) * run) - column)
    const scale = <C>load<f64>(entry + ((column / run) << 3))
    column += end - i
    for (; i < end; i++) store<C>(out + i * sizeof<C>(), load<C>(x + i * sizeof<C>()) / scale)
    if (column == columns) {
      column = 0
      entry += slots << 3
    }
  }
}

export function largest_f32(context: usize, n: usize): void { largest<f32>(context, n) }
export function largest_f64(context: usize, n: usize): void { largest<f64>(context, n) }
export function quotients_f32(context: usize, n: usize): void { quotients<f32>(context, n) }
export function quotients_f64(context: usize, n: usize): void { quotients<f64>(context, n) }
