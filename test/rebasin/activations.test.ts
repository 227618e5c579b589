/** Matching by activations, beside a reference that tries every order. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { activationMatching } from '../../src/rebasin/activations/matching.js'
import { measuredSpec } from '../../src/rebasin/activations/names.js'
import { axisMaps, gather, type Permutations } from '../../src/rebasin/apply.js'
import { generator } from '../../src/rebasin/order.js'
import { readSpec, type Spec } from '../../src/rebasin/spec.js'
import { createThreadTeam } from '../../src/rebasin/team/team.js'
import { type Model, sourceOf } from './load.js'
import { anyPermutation, randomModel } from './random.js'

const team = createThreadTeam(1)
test.after(() => team.close())

/** Samples [count, width]; each place has a mean and a size of its own. */
function samples(seed: number, count: number, width: number): Float32Array {
  const random = generator(seed)
  const [means, sizes] = [0, 1].map(() => Float64Array.from({ length: width }, () => 5 * random()))
  return Float32Array.from({ length: count * width }, (_, i) => means![i % width]! + sizes![i % width]! * random())
}

const tensor = (values: Float32Array, width: number) => ({
  dtype: 'F32',
  shape: [values.length / width, width],
  values,
})

const moved = (spec: Spec, model: Model, perms: Permutations): Model =>
  new Map(
    [...model].map(([name, { dtype, shape, values }]) => [
      name,
      { dtype, shape, values: gather(values, shape, axisMaps(spec, perms, name, shape)) },
    ]),
  )

const match = (
  spec: Spec,
  weights: readonly [Model, Model],
  activations: readonly [Model, Model],
  budget?: { kept: number; part: number },
) =>
  activationMatching(
    spec,
    measuredSpec(spec, activations[0]).spec,
    { a: sourceOf(weights[0]), b: sourceOf(weights[1]) },
    { a: { of: 'a', source: sourceOf(activations[0]) }, b: { of: 'b', source: sourceOf(activations[1]) } },
    team,
    budget ? { budget } : {},
  )

const MLP = { 'fc1.weight': [6, 4], 'fc1.bias': [6], 'fc2.weight': [6, 6], 'fc2.bias': [6], 'fc3.weight': [3, 6] }
const mlp = (model: Model): Spec =>
  readSpec(
    {
      tensors: {
        'fc1.weight': ['fc1'],
        'fc1.bias': ['fc1'],
        'fc2.weight': ['fc2', 'fc1'],
        'fc2.bias': ['fc2'],
        'fc3.weight': [null, 'fc2'],
      },
    },
    model,
  )

/** Correlations in the plain way, in float64. */
function correlations(x: Float32Array, y: Float32Array, width: number): number[][] {
  const count = x.length / width
  const column = (values: Float32Array, j: number) => Array.from({ length: count }, (_, i) => values[i * width + j]!)
  const centred = (values: number[]) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / count
    const difference = values.map((value) => value - mean)
    const norm = Math.sqrt(difference.reduce((sum, value) => sum + value * value, 0))
    return difference.map((value) => (norm > 0 ? value / norm : 0))
  }
  const [left, right] = [x, y].map((values) => Array.from({ length: width }, (_, j) => centred(column(values, j))))
  return left!.map((one) => right!.map((other) => one.reduce((sum, value, i) => sum + value * other[i]!, 0)))
}

function* orders(n: number): Generator<number[]> {
  if (n === 0) yield []
  else
    for (const rest of orders(n - 1))
      for (let at = 0; at < n; at++) yield [...rest.slice(0, at), n - 1, ...rest.slice(at)]
}

test('the order of each group has the largest sum of correlations over all measurements of it', async () => {
  for (let seed = 0; seed < 4; seed++) {
    const weights = [randomModel(seed, MLP), randomModel(seed + 100, MLP)] as const
    const spec = mlp(weights[0])
    const measured = (key: number): Model =>
      new Map([
        ['fc1', tensor(samples(key, 20, 6), 6)],
        ['fc2', tensor(samples(key + 1, 30, 6), 6)],
        ['fc2@relu', tensor(samples(key + 2, 10, 6), 6)],
      ])
    const activations = [measured(10 * seed), measured(10 * seed + 1000)] as const
    const found = await match(spec, weights, activations)
    let all = 0
    for (const group of ['fc1', 'fc2']) {
      const tables = [...activations[0]].flatMap(([name, { values }]) =>
        name.startsWith(group) ? [correlations(values, activations[1].get(name)!.values, 6)] : [],
      )
      const score = (order: ArrayLike<number>) =>
        tables.reduce((sum, table) => sum + table.reduce((total, row, i) => total + row[order[i]!]!, 0), 0)
      const best = [...orders(6)].reduce((top, order) => Math.max(top, score(order)), Number.NEGATIVE_INFINITY)
      assert.ok(Math.abs(score(found.permutations[group]!) - best) < 1e-5)
      all += best
    }
    assert.ok(Math.abs((await found.correlationOf(found.permutations)) - all / 18) < 1e-6)
  }
})

test('a permuted network with its activations gives back the permutation, also of heads, whatever is read at once', async () => {
  const spec = readSpec(
    {
      groups: { units: 7, heads: 3, value: { size: 4, inside: 'heads' } },
      tensors: {
        'v.weight': ['heads*value', 'units'],
        'q.weight': ['heads*2', 'units'],
        'o.weight': ['units', 'heads*value'],
      },
    },
    new Map([
      ['v.weight', { shape: [12, 7] }],
      ['q.weight', { shape: [6, 7] }],
      ['o.weight', { shape: [7, 12] }],
    ]),
  )
  const weights = randomModel(1, { 'v.weight': [12, 7], 'q.weight': [6, 7], 'o.weight': [7, 12] })
  const activations: Model = new Map([
    ['units', tensor(samples(3, 500, 7), 7)],
    ['heads*value', tensor(samples(4, 500, 12), 12)],
    ['heads*2@q', tensor(samples(5, 500, 6), 6)],
  ])
  const { spec: measured, missing, foreign } = measuredSpec(spec, activations)
  assert.equal([missing, foreign], [[], []])
  for (let seed = 0; seed < 3; seed++) {
    const perms = anyPermutation(spec, seed)
    const [b, bActivations] = [moved(spec, weights, perms), moved(measured, activations, perms)]
    // Bringing b onto the original permutes it back.
    const { permutations, correlationBefore, correlationOf } = await match(
      spec,
      [weights, b],
      [activations, bActivations],
    )
    const back = moved(spec, b, permutations)
    for (const [name, { values }] of weights) assert.equal(back.get(name)!.values, values)
    assert.ok((await correlationOf(permutations)) > 0.999999 && correlationBefore < 0.9)
    const small = await match(spec, [weights, b], [activations, bActivations], { kept: 0, part: 4096 })
    assert.equal(small.permutations, permutations)
    assert.is(await small.correlationOf(permutations), await correlationOf(permutations))
  }
})

test('units that do not vary are matched by their weights', async () => {
  const weights = randomModel(5, MLP)
  const spec = mlp(weights)
  const live = samples(6, 50, 6)
  for (let i = 0; i < live.length; i++) if (i % 6 < 3) live[i] = i % 6
  const activations: Model = new Map([
    ['fc1', tensor(live, 6)],
    ['fc2', tensor(samples(7, 50, 6), 6)],
  ])
  const perms = anyPermutation(spec, 2)
  const b = [moved(spec, weights, perms), moved(measuredSpec(spec, activations).spec, activations, perms)] as const
  const { permutations } = await match(spec, [weights, b[0]], [activations, b[1]])
  const back = moved(spec, b[0], permutations)
  for (const [name, { values }] of weights) assert.equal(back.get(name)!.values, values)
})

test('values that are not finite are an error that names tensor and model', async () => {
  const weights = randomModel(5, MLP)
  const good: Model = new Map([
    ['fc1', tensor(samples(6, 10, 6), 6)],
    ['fc2', tensor(samples(7, 10, 6), 6)],
  ])
  const bad: Model = new Map([...good, ['fc2', tensor(samples(7, 10, 6).fill(Number.NaN, 7, 8), 6)]])
  try {
    await match(mlp(weights), [weights, weights], [good, bad])
    assert.unreachable()
  } catch (error) {
    assert.ok(error instanceof Fault)
    assert.is(error.diagnostics[0]!.code, 'bad-statistics')
    assert.match(error.message, 'the activations of b have values in fc2 that are not finite')
  }
})

test('names: units as a spec writes them, and a label', () => {
  const spec = mlp(randomModel(1, MLP))
  const shapes = { fc1: [5, 6], 'fc1@a@b': [5, 6], 'fc1*2': [5, 12], fc3: [5, 3], 'fc1*fc2': [5, 36], '2@fc1': [5, 2] }
  const found = measuredSpec(spec, new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape }])))
  assert.equal(
    found.spec.parts.map(({ tensor }) => tensor),
    ['fc1', 'fc1*2'],
  )
  assert.equal([found.foreign, found.missing], [['fc1@a@b', 'fc3', 'fc1*fc2', '2@fc1'], ['fc2']])
  const { wrong } = measuredSpec(spec, new Map([['fc2', { shape: [5, 7] }]]))
  assert.equal(wrong, [{ name: 'fc2', message: 'is [5, 7] but must be [samples, 6]' }])
})

test.run()
