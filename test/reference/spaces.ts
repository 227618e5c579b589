/** ace and dc_merge, in float64 by plain formulas: the inverse by elimination, singular vectors by Jacobi rotations. */
import {
  besides,
  columns,
  combination,
  type Matrix,
  matrix,
  polar,
  product,
  scaledColumns,
  svd,
  transposed,
} from './linalg.js'
import { add, baseOf, deltasOf, type Given, lambdaOf, option, rounding, type Tensor, task } from './numeric.js'

/** b + λ·rule(δ), or the mean of the δ_i where the rule says nothing. */
function changed(given: Given, rule: (deltas: readonly Matrix[]) => Matrix | undefined): Tensor {
  const deltas = deltasOf(given)
  const rows = given.shape[0]!
  const change =
    given.shape.length < 2 ? undefined : rule(deltas.map((delta) => matrix(rows, delta.length / rows, delta)))
  if (!change)
    return task(
      given,
      deltas.map(() => lambdaOf(given) / deltas.length),
    )
  const round = rounding(given.compute)
  return baseOf(given).map((origin, i) => round(origin + round(lambdaOf(given) * change.values[i]!))) as Tensor
}

const total = (values: Iterable<number>): number => add([...values])
const square = ({ values }: Matrix): number => total(values.map((value) => value * value))
const scaled = (a: Matrix, factor: number): Matrix => combination([a], [factor])
const sumOf = (all: readonly Matrix[]): Matrix =>
  combination(
    all,
    all.map(() => 1),
  )
const unit = (n: number, value = 1): Matrix =>
  matrix(
    n,
    n,
    Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? value : 0)),
  )

/** A⁻¹ by Gauss and Jordan with the largest pivot. */
function inverse(a: Matrix): Matrix {
  const n = a.rows
  const both = besides([a, unit(n)])
  const at = (i: number, j: number) => i * 2 * n + j
  const v = both.values
  for (let p = 0; p < n; p++) {
    let best = p
    for (let i = p; i < n; i++) if (Math.abs(v[at(i, p)]!) > Math.abs(v[at(best, p)]!)) best = i
    for (let j = 0; j < 2 * n; j++) [v[at(p, j)], v[at(best, j)]] = [v[at(best, j)]!, v[at(p, j)]!]
    const pivot = v[at(p, p)]!
    for (let j = 0; j < 2 * n; j++) v[at(p, j)]! /= pivot
    for (let i = 0; i < n; i++) {
      const factor = v[at(i, p)]!
      if (i !== p && factor !== 0) for (let j = 0; j < 2 * n; j++) v[at(i, j)]! -= factor * v[at(p, j)]!
    }
  }
  return columns(both, n, 2 * n)
}

const columnMeans = (a: Matrix): number[] =>
  Array.from(
    { length: a.columns },
    (_, j) => total(Array.from({ length: a.rows }, (_, i) => a.values[i * a.columns + j]!)) / a.rows,
  )
/** 1 pᵀ: the row p so many times. */
const repeated = (rows: number, p: readonly number[]): Matrix =>
  matrix(rows, p.length, Array.from({ length: rows }, () => p).flat())

/** ace (2603.02945), as the authors' program computes it. */
export const ace = (given: Given): Tensor =>
  changed(given, (deltas) => {
    const { rows, columns: width } = deltas[0]!
    const norms = deltas.map(square)
    const logs = norms.map(Math.log)
    const mean = total(logs) / logs.length
    const variance = total(logs.map((log) => (log - mean) ** 2)) / (logs.length - 1)
    const uneven = variance > 0.3 * mean * mean
    const centred = deltas.map((delta) => combination([delta, repeated(rows, columnMeans(delta))], [1, -1]))
    const plain = centred.map((c) => product(transposed(c), c))
    const traces = plain.map((gram) => total(Array.from({ length: width }, (_, i) => gram.values[i * (width + 1)]!)))
    if (uneven && traces.every((trace) => trace === 0)) return matrix(rows, width)
    const eps = option(given, 'eps', 0.01)
    const grams = plain.map((gram, i) => scaled(gram, uneven ? 1 / traces[i]! : 1))
    const lifted = grams.map((gram, i) => combination([gram, unit(width)], [1, uneven ? eps / traces[i]! : eps]))
    const whole = sumOf(lifted)
    const p = columnMeans(sumOf(grams)).map((value) => (uneven ? (value * norms.length) / total(norms) : value))
    const fits = sumOf(centred.map((c, i) => product(c, lifted[i]!)))
    const w = product(fits, inverse(combination([whole, repeated(width, p)], [1, 1])))
    if (!uneven) return w
    const moves = deltas.map((delta, i) => product(delta, combination([grams[i]!, whole], [1, -1 / deltas.length])))
    const { left, values, right } = svd(sumOf([w, ...moves]))
    const k = Math.max(1, Math.trunc(0.3 * Math.min(rows, width)))
    const kept = Math.min(k, values.length)
    const even = product(columns(left, 0, kept), transposed(columns(right, 0, kept)))
    return combination([w, even], [1, total([...values].slice(0, k)) / k])
  })

/** dc_merge (2603.06242). */
export const dcMerge = (given: Given): Tensor =>
  changed(given, (deltas) => {
    const short = Math.min(deltas[0]!.rows, deltas[0]!.columns)
    const n = deltas.length
    const rank = option<number | 'equal'>(given, 'rank', 'equal')
    const r = rank === 'equal' ? Math.floor(short / n) : rank
    if (r === 0 || n * r > short) return undefined
    const elements = rank === 'equal' ? short * short : (n * r) ** 2
    const parts = deltas.map((delta) => {
      const { left, values, right } = svd(delta)
      const kept = Math.min(r, values.length)
      return {
        left: columns(left, 0, kept),
        values: smooth(given, [...values].slice(0, kept)),
        right: columns(right, 0, kept),
      }
    })
    const [u, v] = [polar(besides(parts.map(({ left }) => left))), polar(besides(parts.map(({ right }) => right)))]
    const all = parts.map(({ left, values, right }) => {
      const own = product(scaledColumns(left, values), transposed(right))
      const m = product(product(transposed(u), own), v)
      const most = Math.max(1, Math.trunc(option(given, 'density', 0.001) * elements))
      const sorted = [...m.values].map(Math.abs).sort((a, b) => b - a)
      const least = most < sorted.length ? sorted[most - 1]! : 0
      return m.values.map((value) => (Math.abs(value) >= least ? value : 0))
    })
    const owners = parts.flatMap(({ values }, model) => values.map(() => model))
    const k = owners.length
    const t = matrix(
      k,
      k,
      Array.from({ length: k * k }, (_, i) => {
        if (owners[Math.floor(i / k)] !== owners[i % k]) return 0
        const sign = Math.sign(total(all.map((m) => m[i]!)))
        const agree = all.map((m) => m[i]!).filter((value) => sign !== 0 && Math.sign(value) === sign)
        return agree.length === 0 ? 0 : total(agree) / agree.length
      }),
    )
    return product(product(u, t), transposed(v))
  })

function smooth(given: Given, values: readonly number[]): number[] {
  const kind = option<string>(given, 'smoothing', 'none')
  if (kind === 'none' || values.length === 0) return [...values]
  const last = values.length - 1
  const top = kind === 'average' ? 1 : Math.min(option(given, 'rho', 5), values[0]! / values[last]!)
  const weights = values.map((_, i) => (last === 0 ? 1 : top + ((1 - top) * i) / last))
  return weights.map((weight) => (weight * total(values)) / total(weights))
}
