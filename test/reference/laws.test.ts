import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { goldenCases } from './golden.js'
import { type Given, REFERENCES, reference } from './index.js'
import { byMagnitude, deltasOf, magnitudeKey, sum, sumRange } from './numeric.js'
import { AVERAGES, bell, distance, fineTunes, N, ONE_OTHER, SHAPE, sample, withParameters } from './samples.js'

const TASK = [
  ...[
    'task_arithmetic',
    'ties',
    'dare_linear',
    'dare_ties',
    'della_linear',
    'della',
    'breadcrumbs',
    'breadcrumbs_ties',
  ],
  ...['magmax', 'consensus_ta', 'metagpt', 'pcb', 'iso_c', 'iso_cts', 'tsv_m', 'knots', 'star'],
]
const ALL = Object.keys(REFERENCES)

for (const method of ALL)
  test(`${method}: float32 and float64 agree to float32 precision`, () => {
    assert.ok(distance(reference(method, sample(method)), reference(method, sample(method, 'float64'))) < 2e-6)
  })

for (const method of AVERAGES)
  test(`${method}: the average of equal models is the model`, () => {
    const given = sample(method)
    const same = given.inputs.map(() => given.inputs[0]!)
    assert.ok(distance(reference(method, { ...given, inputs: same }), same[0]!) < 5e-7)
  })

test('median and geometric_median of equal models are the model, bit for bit', () => {
  for (const method of ['median', 'geometric_median']) {
    const given = sample(method)
    const inputs = given.inputs.map(() => given.inputs[0]!)
    assert.equal(reference(method, { ...given, inputs }), inputs[0])
  }
})

for (const method of TASK)
  test(`${method}: lambda 0 is the base, bit for bit`, () => {
    const given = sample(method)
    assert.equal(reference(method, withParameters(given, { lambda: 0 })), given.base)
  })

for (const method of [...TASK, 'linear_if_changed', 'model_stock', 'ram', 'ramplus_tl', 'sce'])
  test(`${method}: lines scales the merged difference by its layer`, () => {
    const given = sample(method, 'float64')
    const merged = reference(method, given)
    const lines = { ...given.parameters, lines: { alpha: 0.25, beta: 0.5 } }
    const middle = reference(method, { ...given, parameters: lines, layer: { index: 2, count: 5 } })
    const outside = reference(method, { ...given, parameters: lines })
    assert.ok(
      distance(
        middle,
        Array.from(merged, (x, i) => given.base![i]! + 0.5 * (x - given.base![i]!)),
      ) < 1e-12,
    )
    assert.ok(
      distance(
        outside,
        Array.from(merged, (x, i) => given.base![i]! + 0.25 * (x - given.base![i]!)),
      ) < 1e-12,
    )
  })

for (const [sparse, plain] of [
  ['dare_linear', 'task_arithmetic'],
  ['della_linear', 'task_arithmetic'],
  ['breadcrumbs', 'task_arithmetic'],
] as const)
  test(`${sparse}: density 1 drops nothing and is ${plain}`, () => {
    const given = { ...sample(sparse), weights: [0.5, 0.3, -0.4] }
    const parameters = { density: 1, gamma: 0, lambda: 0.8 }
    assert.equal(
      reference(sparse, withParameters(given, parameters)),
      reference(plain, withParameters(given, parameters)),
    )
  })

test('density 1: dare_ties, della and breadcrumbs_ties are ties', () => {
  for (const method of ['dare_ties', 'della', 'breadcrumbs_ties']) {
    const given = { ...sample(method), weights: [0.5, 0.3, 0.9] }
    const parameters = { density: 1, gamma: 0, normalize: true }
    assert.equal(
      reference(method, withParameters(given, parameters)),
      reference('ties', withParameters(given, parameters)),
    )
  }
})

/** Where ties go to the first or masks hang on names, a permutation of generic models with their names changes nothing. */
const ORDERED = ['slerp', 'nuslerp', ...ONE_OTHER, 'passthrough', 'opcm']
for (const method of ALL.filter((name) => !ORDERED.includes(name)))
  test(`${method}: the order of models does not matter`, () => {
    const given = sample(method, 'float64')
    const turned = <T>(list: readonly T[]) => [list[2]!, list[0]!, list[1]!]
    const other: Given = {
      ...given,
      inputs: turned(given.inputs),
      weights: turned([0.5, 0.3, 0.9]),
      modelNames: turned(given.modelNames!),
      ...(given.statistics ? { statistics: turned(given.statistics) } : {}),
    }
    assert.ok(distance(reference(method, other), reference(method, { ...given, weights: [0.5, 0.3, 0.9] })) < 1e-9)
  })

/** Absolute thresholds or their like do not scale. */
const ABSOLUTE = ['ace', 'arcee_fusion', 'nearswap', 'ram', 'ramplus_tl', 'sce', 'pcb']
for (const method of ALL.filter((name) => !ABSOLUTE.includes(name)))
  test(`${method}: a scaled input scales the output`, () => {
    const given = sample(method, 'float64')
    const eightfold = (x: ArrayLike<number>) => Float64Array.from(x, (value) => 8 * value)
    const larger: Given = { ...given, inputs: given.inputs.map(eightfold) }
    const scaled = given.base ? { ...larger, base: eightfold(given.base) } : larger
    assert.ok(distance(reference(method, scaled), eightfold(reference(method, given))) < 1e-7)
  })

test('E[rescaled δ] = δ under inverse, and the kept share is the density: dare and della', () => {
  const draws = 400
  for (const [method, parameters] of [
    ['dare_linear', { density: 0.3 }],
    ['della_linear', { density: 0.5, epsilon: 0.2 }],
  ] as const) {
    const all = fineTunes(SHAPE, 1, 'float64')
    const delta = deltasOf(all)[0]!
    const total = new Float64Array(N)
    let kept = 0
    for (let seed = 0; seed < draws; seed++) {
      const result = reference(method, { ...withParameters(all, parameters), seed })
      for (let i = 0; i < N; i++) {
        total[i]! += result[i]! - all.base![i]!
        if (result[i] !== all.base![i]) kept++
      }
    }
    for (let i = 0; i < N; i++) {
      // Each mean is within 5 standard errors: the variance of a draw is δ²(1/p − 1), and p is at least 0.3 in both.
      const error = 5 * Math.abs(delta[i]!) * Math.sqrt((1 / 0.3 - 1) / draws)
      assert.ok(Math.abs(total[i]! / draws - delta[i]!) <= error)
    }
    const { density } = parameters
    assert.ok(Math.abs(kept / (N * draws) - density) < 4 * Math.sqrt((density * (1 - density)) / (N * draws)))
  }
})

test('random masks hang on the seed and the names, not on order, company or compute type', () => {
  const parameters = { density: 0.4 }
  const all = { ...fineTunes(SHAPE, 2), parameters }
  const kept = (given: Given) => Array.from(reference('dare_linear', given), (x, i) => x !== given.base![i])
  const second = { ...all, inputs: [all.inputs[1]!], modelNames: ['m1'] }
  assert.equal(kept(second), kept({ ...second, compute: 'float64' }))
  assert.equal(kept(second), kept({ ...all, weights: [0, 1] }))
  assert.not.equal(kept(second), kept({ ...second, seed: 1 }))
  assert.not.equal(kept(second), kept({ ...second, tensorName: 'v' }))
})

test('rescale l1 restores the L1 norm of each task vector', () => {
  for (const method of ['dare_linear', 'della_linear', 'breadcrumbs']) {
    const all = fineTunes(SHAPE, 1, 'float64')
    const result = reference(method, withParameters(all, { density: 0.5, epsilon: 0.1, gamma: 0.05, rescale: 'l1' }))
    const l1 = (x: ArrayLike<number>) => sum(N, (i) => Math.abs(x[i]! - all.base![i]!))
    assert.ok(Math.abs(l1(result) / l1(all.inputs[0]!) - 1) < 1e-8)
  }
})

test('trim keeps exactly k elements, of equal magnitudes those of lowest index', () => {
  const base = new Float32Array(10)
  const input = Float32Array.of(1, -2, 2, -1, 2, 0, 1, -1, 3, 1)
  const keptOf = (density: number) =>
    Array.from(reference('ties', { inputs: [input], base, shape: [10], compute: 'float32', parameters: { density } }))
  assert.equal(keptOf(0.3), [0, -2, 2, 0, 0, 0, 0, 0, 3, 0])
  assert.equal(keptOf(0.6), [1, -2, 2, -1, 2, 0, 0, 0, 3, 0])
  assert.equal(keptOf(0.01), [0, 0, 0, 0, 0, 0, 0, 0, 3, 0])
})

test('breadcrumbs cuts the largest and the smallest, and less of the largest where k could not stay', () => {
  const base = new Float32Array(10)
  const input = Float32Array.of(1, -2, 3, -4, 5, -6, 7, -8, 9, -10)
  const keptOf = (density: number, gamma: number) =>
    Array.from(
      reference('breadcrumbs', {
        inputs: [input],
        base,
        shape: [10],
        compute: 'float32',
        parameters: { density, gamma },
      }),
    )
  assert.equal(keptOf(0.5, 0.2), [0, 0, 0, -4, 5, -6, 7, -8, 0, 0])
  assert.equal(keptOf(0.9, 0.3), [1, -2, 3, -4, 5, -6, 7, -8, 9, 0])
})

test('a vote that cancels exactly elects plus, a zero divisor becomes 1, a zero has no sign', () => {
  const base = new Float32Array(3)
  const given: Given = {
    inputs: [Float32Array.of(1, 2, 0), Float32Array.of(-1, 2, 0)],
    base,
    shape: [3],
    compute: 'float32',
  }
  assert.equal(Array.from(reference('ties', given)), [1, 2, 0])
  // D = (1, -(-1)) and (2, -2): agreeing weights of element 0 sum to 0.
  assert.equal(Array.from(reference('ties', { ...given, weights: [1, -1] })), [2, 2, 0])
})

test('sums go by lanes, chunks and tiles, not one after another', () => {
  const n = 2 ** 18 + 4096 + 7
  const values = bell('sums', n)
  const part = (start: number, end: number) => sumRange(start, end, (i) => values[i]!)
  const whole = sum(n, (i) => values[i]!)
  assert.is(whole, part(0, 2 ** 18) + part(2 ** 18, n))
  const lanes = sumRange(0, 4, (i) => [1e16, 1, -1e16, 1][i]!)
  assert.is(lanes, 2)
})

test('magnitudes are ranked by float32 bits, NaN first, and equal ones by index', () => {
  assert.equal(byMagnitude([1, Number.NaN, -1, Number.NEGATIVE_INFINITY, 2, 1 + 1e-12]), [1, 3, 4, 0, 2, 5])
  assert.is(magnitudeKey(-0), 0)
})

test('a merge of the golden tensors with no difference from base is the base', () => {
  const [golden] = goldenCases('48x40', 'float32').filter(({ method }) => method === 'ties')
  const base = golden!.given.base!
  for (const method of [...TASK, 'sce', 'ram', 'ramplus_tl']) {
    assert.equal(reference(method, { inputs: [base, base], base, shape: [48, 40], compute: 'float32' }), base, method)
  }
})

test.run()
