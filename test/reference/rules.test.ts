import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Given, reference } from './index.js'
import { add, sum } from './numeric.js'
import { bell, distance, fineTunes, N, SHAPE, sample, withParameters } from './samples.js'

test('coefficients found from the Gram matrix are those of the vectors themselves', () => {
  const { inputs } = fineTunes(SHAPE, 3, 'float64')
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>) => sum(N, (i) => x[i]! * y[i]!)
  const norms = inputs.map((x) => Math.sqrt(dot(x, x)))
  const units = inputs.map((x, i) => Float64Array.from(x, (value) => value / norms[i]!))
  let mean = Float64Array.from({ length: N }, (_, i) => add(units.map((u) => u[i]!)))
  mean = mean.map((value) => value / Math.sqrt(dot(mean, mean)))
  for (let step = 0; step < 10; step++) {
    const tangent = new Float64Array(N)
    for (const unit of units) {
      const theta = Math.acos(dot(unit, mean))
      for (let i = 0; i < N; i++)
        tangent[i]! += ((theta / Math.sin(theta)) * (unit[i]! - Math.cos(theta) * mean[i]!)) / 3
    }
    const size = Math.sqrt(dot(tangent, tangent))
    if (size < 1e-5) break
    mean = mean.map((value, i) => Math.cos(size) * value + (Math.sin(size) * tangent[i]!) / size)
  }
  const expected = mean.map((value) => (value * add(norms)) / 3)
  assert.ok(distance(reference('karcher', { inputs, shape: SHAPE, compute: 'float64' }), expected) < 1e-12)
})

test('geometric_median makes the sum of distances least, and an outlier does not pull it', () => {
  const near = fineTunes(SHAPE, 3, 'float64').inputs
  const inputs = [...near, bell('outlier', N, 100)]
  const cost = (y: ArrayLike<number>) =>
    add(inputs.map((x) => Math.sqrt(sum(N, (i) => (x[i]! - y[i]!) * (x[i]! - y[i]!)))))
  const result = reference('geometric_median', {
    inputs,
    shape: SHAPE,
    compute: 'float64',
    parameters: { max_iter: 1000 },
  })
  const least = cost(result)
  for (let trial = 0; trial < 20; trial++) {
    const step = bell(`step ${trial}`, N, 0.003)
    assert.ok(cost(result.map((value, i) => value + step[i]!)) > least)
  }
  const mean = reference('linear', { inputs, shape: SHAPE, compute: 'float64' })
  assert.ok(distance(result, near[0]!) < 0.5 && distance(mean, near[0]!) > 10)
})

test('slerp and nuslerp: ends, norm of equals, and the antiparallel is linear', () => {
  const given = sample('slerp', 'float64')
  assert.equal(reference('slerp', withParameters(given, { t: 0 })), Float64Array.from(given.inputs[0]!))
  assert.ok(distance(reference('slerp', withParameters(given, { t: 1 })), given.inputs[1]!) < 1e-12)
  const opposite = { ...given, inputs: [given.inputs[0]!, given.inputs[0]!.map((x) => -x)], weights: [0.75, 0.25] }
  assert.ok(
    distance(
      reference('nuslerp', opposite),
      given.inputs[0]!.map((x) => x / 2),
    ) < 1e-12,
  )
})

test('nuslerp by rows of a matrix is by columns of its transpose', () => {
  const given = sample('nuslerp', 'float64')
  const turned = (x: ArrayLike<number>) =>
    Float64Array.from({ length: N }, (_, i) => x[(i % 12) * 10 + Math.floor(i / 12)]!)
  const rows = reference('nuslerp', withParameters(given, { flatten: false, row_wise: true }))
  const other: Given = { ...given, inputs: given.inputs.map(turned), shape: [10, 12] }
  const columns = reference('nuslerp', withParameters(other, { flatten: false, row_wise: false }))
  assert.ok(distance(columns, turned(rows)) < 1e-12)
})

test('model_stock of equal fine-tunes is the fine-tune; of orthogonal ones the base', () => {
  const given = sample('model_stock', 'float64')
  const same = given.inputs.map(() => given.inputs[0]!)
  assert.ok(distance(reference('model_stock', { ...given, inputs: same }), same[0]!) < 1e-12)
  const base = new Float64Array(4)
  const orthogonal = { inputs: [Float64Array.of(1, 0, 0, 0), Float64Array.of(0, 1, 0, 0)], base, shape: [4] }
  assert.equal(reference('model_stock', { ...orthogonal, compute: 'float64' }), base)
})

test('metagpt takes the norms of the whole model where they are given', () => {
  const given = sample('metagpt', 'float64')
  const expected = reference('task_arithmetic', { ...given, weights: [0.5, 0.25, 0.25] })
  assert.ok(distance(reference('metagpt', { ...given, squaredNorms: [8, 4, 4] }), expected) < 1e-14)
})

test('pcb: ratio 1 weighs all but the lowest, a small ratio few; agreement outweighs disagreement', () => {
  const given = sample('pcb', 'float64')
  const changed = (ratio: number) =>
    Array.from(reference('pcb', withParameters(given, { ratio })), (x, i) => x !== given.base![i]).filter(Boolean)
      .length
  assert.ok(changed(1) > 0.9 * N)
  assert.ok(changed(0.05) <= 3 * Math.ceil(0.05 * N) && changed(0.05) > 0)
})

test('regmean with whitened inputs is the mean, and leaves out nobody where an input was never fed', () => {
  const given = sample('regmean', 'float64')
  const identity = Float64Array.from({ length: 100 }, (_, at) => (at % 11 === 0 && at !== 33 ? 2 : 0))
  const result = reference('regmean', { ...given, statistics: given.inputs.map(() => identity) })
  assert.ok(distance(result, reference('linear', given)) < 1e-12)
})

test('regmean minimises the squared error of outputs on the data where alpha is 1', () => {
  const given = sample('regmean', 'float64')
  const w = reference('regmean', withParameters(given, { alpha: 1 }))
  // The normal equations: Σ (W − W_i) G_i = 0.
  for (let row = 0; row < 12; row++)
    for (let j = 0; j < 10; j++) {
      const parts = given.inputs.flatMap((x, model) =>
        Array.from(
          { length: 10 },
          (_, i) => (w[row * 10 + i]! - x[row * 10 + i]!) * given.statistics![model]![i * 10 + j]!,
        ),
      )
      assert.ok(Math.abs(add(parts)) < 1e-10)
    }
})

test('fisher: equal information is the weighted mean, an informed model wins', () => {
  const given = { ...sample('fisher', 'float64'), weights: [1, 2, 3] }
  const flat = (value: number) => new Float64Array(N).fill(value)
  const mean = reference('linear', given)
  assert.ok(distance(reference('fisher', { ...given, statistics: [flat(5), flat(5), flat(5)] }), mean) < 1e-12)
  assert.ok(distance(reference('fisher', { ...given, statistics: [flat(0), flat(0), flat(0)] }), mean) < 1e-12)
  assert.ok(
    distance(reference('fisher', { ...given, statistics: [flat(1e9), flat(0), flat(0)] }), given.inputs[0]!) < 1e-9,
  )
})

test.run()
