/** opcm and svc, in float64 by plain formulas. */
import { columns, combination, type Matrix, matrix, product, scaledColumns, svd, transposed } from './linalg.js'
import { add, baseOf, deltasOf, type Given, lambdaOf, option, rounding, type Tensor } from './numeric.js'

const asMatrices = (given: Given): readonly Matrix[] => {
  const rows = given.shape.length < 2 ? 1 : given.shape[0]!
  return deltasOf(given).map((delta) => matrix(rows, delta.length / rows, delta))
}
const lengthOf = ({ values }: Matrix): number => Math.sqrt(add([...values].map((value) => value * value)))

/** How many values come before their running sum first exceeds a share of the whole. */
function leading(values: readonly number[], share: number): number {
  const sums = values.map((_, i) => add(values.slice(0, i + 1)))
  const first = sums.findIndex((sum) => sum > share * sums.at(-1)!)
  return first < 0 ? values.length : first
}

/** opcm (2501.09522); norms are this tensor's own. */
export function opcm(given: Given): Tensor {
  const round = rounding(given.compute)
  const deltas = asMatrices(given)
  const all = deltas.slice(1).reduce((sum, delta) => {
    const plain = combination([sum, delta], [1, 1])
    if (given.shape.length < 2 || sum.values.every((value) => value === 0)) return plain
    const { left, values, right } = svd(sum)
    const seen = product(product(transposed(left), delta), right)
    const s = leading([...values], option(given, 'alpha', 0.5))
    const kept = seen.values.map((value, at) => {
      const [i, j] = [Math.floor(at / seen.columns), at % seen.columns]
      return i === j || (i < s && j < s) ? value : 0
    })
    const taken = product(product(left, matrix(seen.rows, seen.columns, kept)), transposed(right))
    return combination([plain, taken], [1, -1])
  }, deltas[0]!)
  // P stands in the compute type, on the base.
  const summed = baseOf(given).map((origin, i) => round(round(origin + round(all.values[i]!)) - origin))
  const length = lengthOf(matrix(1, summed.length, summed))
  const mean = add(deltas.map(lengthOf)) / deltas.length
  const scale = length === 0 ? 0 : (lambdaOf(given) * mean) / length
  return baseOf(given).map((origin, i) => round(origin + round(round(scale) * summed[i]!))) as Tensor
}

/** svc (2602.05536) after a method whose result is `inner`. */
export function svc(given: Given, inner: Tensor): Tensor {
  if (given.shape.length < 2) return inner
  const round = rounding(given.compute)
  const deltas = asMatrices(given)
  const base = baseOf(given)
  const { rows } = deltas[0]!
  const { left, values, right } = svd(
    matrix(
      rows,
      inner.length / rows,
      inner.map((value, i) => round(value - base[i]!)),
    ),
  )
  const scales = [...values].map((sigma, r) => {
    const [u, v] = [columns(left, r, r + 1), columns(right, r, r + 1)]
    const overlaps = deltas.map((delta) => {
      const a = product(transposed(delta), u)
      const own = add([...a.values].map((value) => value * value))
      return own === 0 ? 0 : (sigma * add([...a.values].map((value, i) => value * v.values[i]!))) / own
    })
    const least = option(given, 'alpha', 1)
    return (sigma * deltas.length) / add(overlaps.map((overlap) => Math.max(least, overlap)))
  })
  const change = product(scaledColumns(left, scales), transposed(right))
  return base.map((origin, i) => round(origin + round(change.values[i]!))) as Tensor
}
