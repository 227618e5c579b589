/** Methods of searches: what they propose depends on earlier trials alone, stays inside of the space, and finds optima. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Dimension, Range, SearchMethod, SearchValue } from '../../src/recipe/search/types.js'
import { constantsOf, initial, next } from '../../src/search/samplers/evolution.js'
import { exp, normalAt, normalShare } from '../../src/search/samplers/functions.js'
import { SAMPLERS } from '../../src/search/samplers/index.js'
import { jacobi } from '../../src/search/samplers/jacobi.js'
import { logOf, mixtureOf } from '../../src/search/samplers/parzen.js'
import { cellOf, placeOf, uniforms, valueAt } from '../../src/search/samplers/ranges.js'
import type { Point, Trial } from '../../src/search/types.js'

const test = suite('samplers')

const real = (low: number, high: number, log = false): Range => ({ kind: 'real', low, high, log })
const integer = (low: number, high: number, log = false): Range => ({ kind: 'integer', low, high, log })
const space = (...ranges: Range[]): Dimension[] => ranges.map((range, i) => ({ path: `merge.parameters.p${i}`, range }))

/** A loss; undefined: the evaluation fails. */
type Loss = (point: readonly number[]) => number | undefined

/** All trials of a search, batch by batch. */
function search(method: SearchMethod, dimensions: Dimension[], loss: Loss, seed: number, trials: number): Trial[] {
  const sampler = SAMPLERS[method]
  const found: Trial[] = []
  for (let batch = 0; found.length < trials; batch++) {
    const points = sampler.propose(dimensions, { seed, trials }, batch, found)
    if (points.length === 0) break
    const size = Math.min(sampler.batch(dimensions, { seed, trials }), trials - found.length)
    if (method !== 'grid') assert.is(points.length, size)
    const first = found.length
    for (const [i, point] of points.entries()) {
      const value = loss(point.map(Number))
      const result = value === undefined ? { state: 'failed' as const } : { state: 'done' as const, score: -value }
      found.push({ index: first + i, batch, point, values: {}, seconds: 0, ...result })
    }
  }
  return found
}

const best = (trials: readonly Trial[]): number => Math.min(...trials.map(({ score }) => -(score ?? -Infinity)))
const show = (values: readonly number[]): string => values.map((one) => one.toPrecision(3)).join(' ')
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

const log10 = (x: number): number => Math.log10(x)
const FUNCTIONS: readonly [name: string, dimensions: Dimension[], loss: Loss, trials: number][] = [
  [
    'a sphere with log axes',
    space(real(1e-4, 1, true), real(-2, 5), real(1, 1000, true)),
    ([a, b, c]) => (log10(a!) + 2.5) ** 2 + (b! - 1) ** 2 + (log10(c!) - 1) ** 2,
    60,
  ],
  [
    'the function of Rosenbrock',
    space(real(-2, 2), real(-2, 2), real(-2, 2)),
    ([a, b, c]) => 100 * (b! - a! ** 2) ** 2 + (1 - a!) ** 2 + 100 * (c! - b! ** 2) ** 2 + (1 - b!) ** 2,
    80,
  ],
  ['an optimum in a corner', space(real(0, 1), real(0, 1), real(0, 1)), ([a, b, c]) => a! + 2 * b! + 3 * c!, 60],
  [
    'integers, steps and a curved valley',
    space(integer(0, 40), { kind: 'real', low: 0, high: 1, log: false, step: 0.05 }, integer(1, 512, true)),
    ([a, b, c]) => ((a! - 31) / 40) ** 2 + (b! - 0.2) ** 2 + ((log10(c!) - 1) / 3) ** 2,
    60,
  ],
]

for (const [name, dimensions, loss, trials] of FUNCTIONS)
  test(`on ${name}, cma-es and tpe are better than random points, in the median of 20 seeds`, () => {
    const medians = (['random', 'cma-es', 'tpe'] as const).map((method) =>
      median(Array.from({ length: 20 }, (_, seed) => best(search(method, dimensions, loss, seed, trials)))),
    )
    assert.ok(medians[1]! < medians[0]! * 0.75, `cma-es: ${show(medians)}`)
    assert.ok(medians[2]! < medians[0]! * 0.75, `tpe: ${show(medians)}`)
  })

test('cma-es converges, and starts again in another place when it has', () => {
  const dimensions = space(real(-2, 5), real(-2, 5))
  const loss: Loss = ([a, b]) => (a! - 1) ** 2 + (b! + 0.5) ** 2
  const trials = search('cma-es', dimensions, loss, 3, 500)
  assert.ok(best(trials) < 1e-8, `${best(trials)}`)
  // Later generations are far apart again.
  const spread = trials.slice(250, 330).map(({ point }) => Number(point[0]))
  assert.ok(Math.max(...spread) - Math.min(...spread) > 1)
})

test('a tpe search finds the best value of a list', () => {
  const dimensions: Dimension[] = [
    { path: 'merge.method', range: { kind: 'choice', values: ['linear', 'ties', 'dare_ties', 'slerp'] } },
    { path: 'merge.parameters.density', range: real(0, 1) },
  ]
  for (let seed = 0; seed < 3; seed++) {
    const found: Trial[] = []
    for (let batch = 0; found.length < 60; batch++)
      for (const point of SAMPLERS.tpe.propose(dimensions, { seed, trials: 60 }, batch, [...found]))
        found.push({
          ...{ index: found.length, batch, point, state: 'done', values: {}, seconds: 0 },
          score: (point[0] === 'ties' ? 1 : 0) - Math.abs(Number(point[1]) - 0.3),
        })
    const chosen = found.slice(30).filter(({ point }) => point[0] === 'ties').length
    assert.ok(chosen > 15, `seed ${seed}: ${chosen}`)
  }
})

/** A space by a number, and a loss that fails for some points. */
function anySpace(seed: number, method: SearchMethod): { dimensions: Dimension[]; loss: Loss } {
  const draws = uniforms(seed, 'a space', 40)
  let at = 0
  const draw = (): number => draws[at++ % draws.length]!
  const ranges = Array.from({ length: 1 + Math.floor(draw() * 5) }, (): Range => {
    const low = [-3, 0.001, 0, 1e6][Math.floor(draw() * 4)]!
    const high = low + [1e-3, 1, 700][Math.floor(draw() * 3)]!
    const kind = Math.floor(draw() * (method === 'cma-es' ? 4 : 5))
    if (kind === 0) return real(low, high)
    if (kind === 1) return real(Math.max(low, 1e-6), high + 3, true)
    if (kind === 2) return integer(Math.floor(low), Math.ceil(high))
    if (kind === 3) return { kind: 'real', low, high: low + 1, log: false, step: 0.3 }
    return { kind: 'choice', values: ['a', 'b', 3, true] }
  })
  const loss: Loss = (point) =>
    (point[0]! * 1e4) % 7 < 2 ? undefined : point.reduce((sum, one) => sum + (one || 0), 0)
  return { dimensions: space(...ranges), loss }
}

function assertInside({ range }: Dimension, value: SearchValue): void {
  if (range.kind === 'choice') {
    assert.ok(range.values.includes(value))
    return
  }
  const number = value as number
  assert.ok(number >= range.low && number <= range.high, `${number} in ${JSON.stringify(range)}`)
  if (range.kind === 'integer') assert.ok(Number.isInteger(number))
  if (range.step !== undefined) {
    const steps = (number - range.low) / range.step
    assert.ok(Math.abs(steps - Math.round(steps)) < 1e-6, `${number} in ${JSON.stringify(range)}`)
  }
}

test('a grid of lists, steps and points tries every combination once, in order', () => {
  const dimensions: Dimension[] = [
    { path: 'merge.parameters.t', range: { kind: 'real', low: 0, high: 1, log: false, points: 3 } },
    { path: 'seed', range: integer(1, 2) },
    { path: 'merge.method', range: { kind: 'choice', values: ['ties', 'linear'] } },
  ]
  const settings = { seed: 0, trials: 12 }
  assert.is(SAMPLERS.grid.check(dimensions, settings), undefined)
  const points = SAMPLERS.grid.propose(dimensions, settings, 0, [])
  assert.is(points.length, 12)
  assert.equal(points.slice(0, 5), [
    [0, 1, 'ties'],
    [0, 1, 'linear'],
    [0, 2, 'ties'],
    [0, 2, 'linear'],
    [0.5, 1, 'ties'],
  ])
  assert.equal(SAMPLERS.grid.propose(dimensions, settings, 1, []), [])
})

for (const method of ['random', 'cma-es', 'tpe'] as const)
  test(`${method}: points are inside of any space, the same each time, and depend on earlier trials alone`, () => {
    for (let seed = 0; seed < 12; seed++) {
      const { dimensions, loss } = anySpace(seed, method)
      const trials = search(method, dimensions, loss, seed, 45)
      assert.is(trials.length, 45)
      for (const { point } of trials) for (const [i, value] of point.entries()) assertInside(dimensions[i]!, value)
      // From any batch on, with trials as they come back from a file.
      const read = JSON.parse(JSON.stringify(trials)) as Trial[]
      const settings = { seed, trials: 45 }
      for (const batch of [0, 1, 2, 4]) {
        const earlier = read.filter((trial) => trial.batch < batch)
        const expected = trials.filter((trial) => trial.batch === batch).map(({ point }) => point)
        assert.equal(SAMPLERS[method].propose(dimensions, settings, batch, earlier), expected)
      }
      const other = SAMPLERS[method].propose(dimensions, { ...settings, seed: seed + 1 }, 0, [])
      if (dimensions.some(({ range }) => range.kind === 'real' && range.step === undefined) && method !== 'cma-es')
        assert.not.equal(
          other,
          trials.slice(0, other.length).map(({ point }) => point),
        )
    }
  })

test('when every evaluation fails, all methods go on', () => {
  for (const method of ['cma-es', 'tpe'] as const)
    assert.is(search(method, space(real(0, 1), real(0, 1)), () => undefined, 0, 40).length, 40)
})

test('first points of seed 0 never change', () => {
  const dimensions = space(real(0, 1), real(1e-3, 10, true), integer(1, 9))
  const loss: Loss = ([a, b, c]) => (a! - 0.3) ** 2 + log10(b!) ** 2 + (c! - 4) ** 2 / 10
  const at = (method: SearchMethod, index: number): Point => search(method, dimensions, loss, 0, 40)[index]!.point
  assert.equal(at('random', 0), EXPECTED.random)
  assert.equal(at('cma-es', 39), EXPECTED.cmaEs)
  assert.equal(at('tpe', 39), EXPECTED.tpe)
})

test('cma-es refuses lists of values, and says what to do', () => {
  const dimensions: Dimension[] = [
    { path: 'a', range: real(0, 1) },
    { path: 'b', range: { kind: 'choice', values: [1, 2] } },
  ]
  const problem = SAMPLERS['cma-es'].check(dimensions, { seed: 0, trials: 10 })
  assert.is(problem?.dimension, 1)
  assert.match(problem!.hint!, 'tpe')
})

test('a grid takes as many points of real ranges as the trials allow, the last parameter first', () => {
  const dimensions: Dimension[] = [
    { path: 'a', range: { kind: 'choice', values: ['x', 'y'] } },
    { path: 'b', range: real(0, 1) },
    { path: 'c', range: real(0.01, 100, true) },
  ]
  const settings = { seed: 0, trials: 20 }
  assert.is(SAMPLERS.grid.check(dimensions, settings), undefined)
  const points = search('grid', dimensions, () => 0, 0, 20).map(({ point }) => point)
  // 2 × 3 × 3 points: 2 × 4 × 4 would be more than 20.
  assert.is(points.length, 18)
  assert.equal(points.slice(0, 4), [
    ['x', 0, 0.01],
    ['x', 0, 1],
    ['x', 0, 100],
    ['x', 0.5, 0.01],
  ])
  assert.equal(points[17], ['y', 1, 100])
  assert.is(SAMPLERS.grid.check(dimensions, { seed: 0, trials: 7 })?.dimension, 1)
  const listed: Dimension[] = [{ path: 'a', range: integer(1, 30) }]
  assert.match(SAMPLERS.grid.check(listed, { seed: 0, trials: 7 })!.message, '30 points')
})

test('places and values of ranges belong together', () => {
  for (const range of [real(-1, 3), real(1e-5, 2, true), integer(-3, 9), integer(1, 1000, true)])
    for (const place of uniforms(1, 'places', 50)) {
      const value = valueAt(range, place)
      assert.is(valueAt(range, placeOf(range, value)), value, `${value} in ${JSON.stringify(range)}`)
      const [from, to] = cellOf(range, place)
      assert.ok(from <= place + 1e-12 && place <= to + 1e-12)
    }
  // Every integer of a range is as likely as the others.
  const counts = [0, 0, 0]
  for (const place of uniforms(2, 'places', 3000)) counts[Number(valueAt(integer(0, 2), place))]!++
  assert.ok(
    counts.every((count) => count > 900 && count < 1100),
    `${counts}`,
  )
})

test('functions of this program equal those of others to the last digits', () => {
  for (let x = -30; x < 30; x += 0.37) assert.ok(Math.abs(exp(x) / Math.exp(x) - 1) < 1e-14)
  // SciPy's ndtr and ndtri.
  assert.ok(Math.abs(normalShare(-3.2) / 0.0006871379379158483 - 1) < 1e-12)
  assert.ok(Math.abs(normalAt(0.01) + 2.3263478740408408) < 1e-14)
  assert.ok(Math.abs(normalAt(1e-20) + 9.262340089798409) < 1e-13)
})

test('the constants and a step of cma-es are those of the tutorial', () => {
  const constants = constantsOf(3)
  assert.is(constants.size, 7)
  const digits = (value: number): number => Number(value.toPrecision(6))
  assert.equal(constants.weights.map(digits), EXPECTED.weights)
  assert.equal([constants.cOne, constants.cMany, constants.cSigma, constants.dSigma].map(digits), EXPECTED.rates)
  // The mean moves to the weighted mean of the best three, whatever the others are.
  const points = Array.from({ length: 7 }, (_, k) => [k, -k, k * k])
  const { mean } = next(initial([0, 0, 0], 2), points, constants)
  const [w0, w1, w2] = constants.weights as [number, number, number]
  assert.ok(w0 > 0 && Math.abs(mean[2]! - (w1 + 4 * w2)) < 1e-12)
})

test('jacobi gives eigenvalues and vectors', () => {
  const a = [
    [4, 1, 0.5],
    [1, 3, -2],
    [0.5, -2, 1],
  ]
  const { values, vectors } = jacobi(a)
  for (const [j, value] of values.entries())
    for (const row of [0, 1, 2]) {
      const product = a[row]!.reduce((sum, one, k) => sum + one * vectors[k]![j]!, 0)
      assert.ok(Math.abs(product - value * vectors[row]![j]!) < 1e-12)
    }
})

test('the mixtures of tpe are densities: integrals and sums over the space are equal', () => {
  const observed = [[0.1], [0.35], [0.4], [0.95]]
  const mixture = mixtureOf([real(0, 1)], observed)
  const steps = 2000
  let sum = 0
  for (let i = 0; i < steps; i++) sum += Math.exp(logOf(mixture, [(i + 0.5) / steps])) / steps
  assert.ok(Math.abs(sum / Math.sqrt(2 * Math.PI) - 1) < 1e-3, `${sum}`)
  for (const range of [integer(1, 7), integer(1, 30, true), { kind: 'choice', values: ['a', 'b', 'c'] } as const]) {
    const places = observed.map(([place]) => [placeOf(range, valueAt(range, place!))])
    const values = [...new Set(Array.from({ length: 3000 }, (_, i) => valueAt(range, (i + 0.5) / 3000)))]
    const own = mixtureOf([range], places)
    const total = values.reduce<number>((all, value) => all + Math.exp(logOf(own, [placeOf(range, value)])), 0)
    assert.ok(Math.abs(total - 1) < 1e-9, `${total} of ${JSON.stringify(range)}`)
  }
})

/** Of the seed 0; the constants are those of pycma for three dimensions. */
const EXPECTED = {
  random: [0.941063, 5.33791, 2],
  cmaEs: [0.269385, 0.436887, 5],
  tpe: [0.553192, 2.476, 3],
  weights: [0.585645, 0.292823, 0.121532, 0, -0.424127, -0.770664, -1.06366],
  rates: [0.0964096, 0.0695885, 0.414909, 1.41491],
}

test.run()
