import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Given, reference } from './index.js'
import { besides, type Matrix, matrix, polar, product, scaledColumns, svd, transposed } from './linalg.js'
import { add, deltasOf } from './numeric.js'
import { bell, distance, fineTunes } from './samples.js'

const close = (a: Matrix, b: Matrix, tolerance = 1e-10) => assert.ok(distance(a.values, b.values) < tolerance)
const identity = (n: number) =>
  matrix(
    n,
    n,
    Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0)),
  )
const without = (result: ArrayLike<number>, base: ArrayLike<number>) =>
  Float64Array.from({ length: base.length }, (_, i) => result[i]! - base[i]!)

for (const [rows, columns] of [
  [9, 5],
  [5, 9],
  [6, 6],
  [1, 4],
] as const)
  test(`the decomposition of a ${rows} × ${columns} matrix: orthonormal factors that multiply back`, () => {
    const a = matrix(rows, columns, bell(`svd ${rows} ${columns}`, rows * columns))
    const { left, values, right } = svd(a)
    close(product(scaledColumns(left, values), transposed(right)), a)
    close(product(transposed(left), left), identity(values.length))
    close(product(transposed(right), right), identity(values.length))
    assert.equal(
      [...values],
      [...values].sort((x, y) => y - x),
    )
  })

test('a matrix of lower rank has as many singular values, and none where it is 0', () => {
  const a = product(matrix(8, 2, bell('a', 16)), matrix(2, 6, bell('b', 12)))
  assert.is(svd(a).values.length, 2)
  assert.is(svd(matrix(3, 3)).values.length, 0)
})

/** Polar factor by Newton and Schulz, without singular vectors: Q ← Q(3I − QᵀQ)/2. */
function newtonSchulz(a: Matrix): Matrix {
  const size = Math.sqrt(add([...a.values].map((value) => value * value)))
  let q: Matrix = { ...a, values: a.values.map((value) => value / size) }
  for (let step = 0; step < 60; step++) {
    const gram = product(transposed(q), q)
    const factor = {
      ...gram,
      values: gram.values.map((value, at) => ((at % (gram.columns + 1) === 0 ? 3 : 0) - value) / 2),
    }
    q = product(q, factor)
  }
  return q
}

test('iso_c is (tr(QᵀΔ)/r)·Q, Q the polar factor found without singular vectors', () => {
  const given = fineTunes([10, 7], 3, 'float64')
  const deltas = deltasOf(given)
  const sum = matrix(
    10,
    7,
    deltas[0]!.map((_, i) => add(deltas.map((delta) => delta[i]!))),
  )
  const q = newtonSchulz(sum)
  const trace = add([...q.values].map((value, i) => value * sum.values[i]!))
  const result = without(reference('iso_c', given), given.base!)
  assert.ok(
    distance(
      result,
      q.values.map((value) => (value * trace) / 7),
    ) < 1e-9,
  )
})

test('iso_c has a flat spectrum of the same nuclear norm, iso_cts a flat one', () => {
  const given = fineTunes([10, 7], 2, 'float64')
  const delta = (method: string) => svd(matrix(10, 7, without(reference(method, given), given.base!))).values
  const plain = delta('task_arithmetic')
  const flat = delta('iso_c')
  assert.ok(Math.abs(add(flat) - add(plain)) < 1e-12 && flat[0]! / flat[6]! - 1 < 1e-9)
  const specific = delta('iso_cts')
  assert.is(specific.length, 7)
  assert.ok(specific[0]! / specific[6]! - 1 < 1e-9)
})

test('iso_cts with common 1 is iso_c', () => {
  const given = { ...fineTunes([9, 6], 2, 'float64'), parameters: { common: 1 } }
  assert.ok(distance(reference('iso_cts', given), reference('iso_c', given)) < 1e-12)
})

/** (A)^(−1/2) of a small Gram matrix, times U: what tsv_m's second stage needs. */
function whitened(u: Matrix): Matrix {
  const { left, values } = svd(product(transposed(u), u))
  const root = product(
    scaledColumns(
      left,
      values.map((value) => 1 / Math.sqrt(value)),
    ),
    transposed(left),
  )
  return product(u, root)
}

test('tsv_m by inverse square roots of Gram matrices is tsv_m by singular vectors', () => {
  const given = fineTunes([12, 9], 3, 'float64')
  const parts = deltasOf(given).map((delta) => svd(matrix(12, 9, delta)))
  const first = (a: Matrix) =>
    matrix(
      a.rows,
      3,
      Array.from({ length: a.rows * 3 }, (_, at) => a.values[Math.floor(at / 3) * a.columns + (at % 3)]!),
    )
  const left = whitened(besides(parts.map((part) => first(part.left))))
  const right = whitened(besides(parts.map((part) => first(part.right))))
  const values = parts.flatMap((part) => part.values.slice(0, 3))
  const expected = product(scaledColumns(left, values), transposed(right)).values
  assert.ok(distance(without(reference('tsv_m', given), given.base!), expected) < 1e-9)
  close(left, polar(besides(parts.map((part) => first(part.left)))))
})

test('of one model, tsv_m, knots and star with all of it are the model', () => {
  const given = fineTunes([8, 6], 1, 'float64')
  for (const [method, parameters] of [
    ['tsv_m', {}],
    ['knots', {}],
    ['star', { eta: 1 }],
  ] as const) {
    assert.ok(distance(reference(method, { ...given, parameters }), given.inputs[0]!) < 1e-12, method)
  }
})

test('knots with task_arithmetic inside is task_arithmetic; with ties it depends on signs in the joint basis only', () => {
  const given: Given = { ...fineTunes([6, 10], 3, 'float64'), weights: [0.5, 0.3, -0.4] }
  const inner = reference('knots', { ...given, parameters: { inner: 'task_arithmetic', lambda: 0.7 } })
  assert.ok(distance(inner, reference('task_arithmetic', { ...given, parameters: { lambda: 0.7 } })) < 1e-12)
  const { inputs, base } = given
  const same = { ...given, inputs: [inputs[0]!, inputs[0]!, inputs[0]!], weights: [1, 1, 1] }
  assert.ok(distance(reference('knots', same), inputs[0]!) < 1e-12)
  assert.ok(distance(reference('knots', { ...same, parameters: { density: 0.3 } }), base!) > 1e-3)
})

test('star keeps the nuclear norm with the fewest triplets that hold eta of it', () => {
  const given = fineTunes([10, 8], 1, 'float64')
  const before = svd(matrix(10, 8, deltasOf(given)[0]!)).values
  const result = without(reference('star', { ...given, parameters: { eta: 0.6 } }), given.base!)
  const after = svd(matrix(10, 8, result)).values
  assert.ok(Math.abs(add(after) / add(before) - 1) < 1e-12)
  const share = (rank: number) => add(before.slice(0, rank)) / add(before)
  assert.ok(share(after.length) >= 0.6 && share(after.length - 1) < 0.6)
})

test('a 1-D tensor is averaged, and a convolution is the matrix of its first axis', () => {
  for (const method of ['iso_c', 'iso_cts', 'tsv_m', 'knots', 'star']) {
    const flat = { ...fineTunes([30], 3, 'float64'), weights: [1, 2, 3] }
    const mean = reference('task_arithmetic', { ...flat, parameters: { normalize: true } })
    assert.equal(reference(method, flat), mean)
    assert.throws(() => reference(method, { ...flat, weights: [1, -1, 0] }), /sum of the weights is 0/)
    const kernel = fineTunes([6, 2, 2, 2], 2)
    assert.equal(reference(method, kernel), reference(method, { ...kernel, shape: [6, 8] }))
  }
})

test.run()
