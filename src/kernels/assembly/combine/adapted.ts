/**
 * What updates of adapters need beside products of two factors. Element by element; nothing here is canonical where it is NaN:
 * `encode` sees to that.
 *
 * hadamard: the product of two inputs times the coefficient, added to the base if there is one.
 * normedRows, normedColumns: the first input times the quotient of the second and the norm of its row or column, from a table: a
 *   norm a row, or the number of columns and a norm each.
 */
import { base, coefficients, first, input, output, rowLength, table } from '../memory/context'

// @ts-ignore: decorator
@inline
function hadamard<C>(context: usize, n: usize): void {
  const a = input(context, 0), c = input(context, 1), out = output(context), b = base(context)
  const factor = <C>load<f64>(coefficients(context))
  const factors = v128.splat<C>(factor)
  const end = n * sizeof<C>(), whole = end & ~15
  let o: usize = 0
  for (; o < whole; o += 16) {
    const product = v128.mul<C>(v128.mul<C>(v128.load(a + o), v128.load(c + o)), factors)
    v128.store(out + o, b ? v128.add<C>(v128.load(b + o), product) : product)
  }
  for (; o < end; o += sizeof<C>()) {
    const product = load<C>(a + o) * load<C>(c + o) * factor
    store<C>(out + o, b ? load<C>(b + o) + product : product)
  }
}

// @ts-ignore: decorator
@inline
function normed<C>(context: usize, n: usize, byRow: bool): void {
  const x = input(context, 0), m = input(context, 1), out = output(context)
  const start = table(context)
  const columns = byRow ? rowLength(context) : <usize>load<f64>(start)
  const norms = byRow ? start : start + 8
  let column = <usize>(first(context) % <u64>columns), row: usize = 0
  for (let i: usize = 0; i < n; i++) {
    const o = i * sizeof<C>(), norm = <C>load<f64>(norms + ((byRow ? row : column) << 3))
    store<C>(out + o, load<C>(x + o) * (load<C>(m + o) / norm))
    if (++column == columns) {
      column = 0
      row++
    }
  }
}

export function hadamard_f32(context: usize, n: usize): void { hadamard<f32>(context, n) }
export function hadamard_f64(context: usize, n: usize): void { hadamard<f64>(context, n) }
export function normedRows_f32(context: usize, n: usize): void { normed<f32>(context, n, true) }
export function normedRows_f64(context: usize, n: usize): void { normed<f64>(context, n, true) }
export function normedColumns_f32(context: usize, n: usize): void { normed<f32>(context, n, false) }
export function normedColumns_f64(context: usize, n: usize): void { normed<f64>(context, n, false) }
