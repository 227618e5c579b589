/** Zipping: clusters beside a plain reference, tensors beside M · W · U, and what must hold of the function. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { axisMaps, gather } from '../../src/rebasin/apply.js'
import { generator } from '../../src/rebasin/order.js'
import { readSpec, type SpecText, writeSpec } from '../../src/rebasin/spec.js'
import { createThreadTeam } from '../../src/rebasin/team/team.js'
import { createWeights } from '../../src/rebasin/weights.js'
import { matchUnits, pairUnits, zipUnits } from '../../src/rebasin/zip/clusters.js'
import type { Treatment, ZipGroup, ZipNetwork } from '../../src/rebasin/zip/network.js'
import { resizedSpec } from '../../src/rebasin/zip/resized.js'
import { leastSquares } from '../../src/rebasin/zip/unmerge.js'
import { zipByWeights, zippedTensor } from '../../src/rebasin/zip/zip.js'
import { linear, relu } from './forward.js'
import { type Model, sourceOf } from './load.js'
import { anyPermutation, near, randomModel } from './random.js'

const team = createThreadTeam(1)
test.after(() => team.close())

const SETTINGS = { method: 'zipit', penalty: 0.3, within: 1 } as const

function similarities(n: number, seed: number): Float32Array {
  const random = generator(seed)
  const all = new Float32Array(n * n)
  for (let i = 0; i < n; i++)
    for (let j = i; j < n; j++) {
      all[i * n + j] = i === j ? 1 : 2 * random() - 1
      all[j * n + i] = all[i * n + j]!
    }
  return all
}

/** The rule of the paper, word for word: matrices of lists, a search over all pairs for each merge. */
function plainZip(values: Float32Array, sizes: readonly number[], width: number, penalty: number, within: number) {
  const n = sizes.reduce((sum, size) => sum + size, 0)
  const owner = sizes.flatMap((size, model) => new Array<number>(size).fill(model))
  let units = owner.map((model, i) => ({ members: [i], models: new Set([model]) }))
  let table = units.map((_, i) => units.map((__, j) => values[i * n + j]!))
  const budget = sizes.map(() => Math.floor(((n - width) / sizes.length) * within + 1e-4))
  const free = (i: number, j: number) => {
    const both = new Set([...units[i]!.models, ...units[j]!.models])
    return both.size > 1 || budget[[...both][0]!]! > 0
  }
  while (units.length > width) {
    let best: [number, number] | undefined
    const among = (any: boolean) => {
      for (let i = 0; i < units.length; i++)
        for (let j = i + 1; j < units.length; j++)
          if ((any || free(i, j)) && (!best || table[i]![j]! > table[best[0]]![best[1]]!)) best = [i, j]
    }
    among(false)
    if (!best) among(true)
    const [i, j] = best!
    const merged = {
      members: [...units[i]!.members, ...units[j]!.members],
      models: new Set([...units[i]!.models, ...units[j]!.models]),
    }
    if (merged.models.size === 1) budget[[...merged.models][0]!]!--
    const row = units.map((_, q) => Math.fround(Math.min(table[i]![q]!, table[j]![q]!) * penalty))
    table = table.map((line, q) => line.map((value, r) => (q === i ? row[r]! : r === i ? row[q]! : value)))
    units[i] = merged
    units = units.filter((_, q) => q !== j)
    table = table.filter((_, q) => q !== j).map((line) => line.filter((_, q) => q !== j))
  }
  const assigned = new Int32Array(n)
  for (const [unit, { members }] of units.entries()) for (const i of members) assigned[i] = unit
  return assigned
}

test('the merges are those of the rule, for other sizes, widths, penalties and budgets', () => {
  for (const [seed, sizes] of [
    [7, 5],
    [6, 6],
    [4, 3, 5],
    [9, 2],
  ].entries()) {
    const n = sizes.reduce((sum, size) => sum + size, 0)
    for (const width of [1, Math.max(...sizes), n - 1, n])
      for (const penalty of [0, 0.3, 1])
        for (const within of [0, 0.5, 1]) {
          const group: ZipGroup = { treatment: 'zip', sizes, width }
          assert.equal(
            zipUnits(similarities(n, seed), group, { penalty, within }),
            plainZip(similarities(n, seed), sizes, width, penalty, within),
            `${sizes} into ${width}, ${penalty}, ${within}`,
          )
        }
  }
})

test('pleas merges the most similar pairs of the best one-to-one pairing', async () => {
  const values = similarities(7, 3)
  const orders = (left: number[]): number[][] =>
    left.length === 0 ? [[]] : left.flatMap((j) => orders(left.filter((k) => k !== j)).map((rest) => [j, ...rest]))
  const cosine = (i: number, j: number) => values[i * 7 + 4 + j]!
  // 4 units and 3 units: the fourth place is no unit.
  const sum = (order: number[]) => order.reduce((total, j, i) => total + (j < 3 ? cosine(i, j) : 0), 0)
  const best = orders([0, 1, 2, 3]).reduce((top, order) => (sum(order) > sum(top) ? order : top))
  const pairs = best.flatMap((j, i) => (j < 3 ? [{ i, j }] : [])).sort((x, y) => cosine(y.i, y.j) - cosine(x.i, x.j))
  for (const width of [4, 5, 7]) {
    const found = await matchUnits(values.slice(), { treatment: 'zip', sizes: [4, 3], width }, team)
    assert.is(new Set(found).size, width)
    for (const [rank, { i, j }] of pairs.entries()) assert.is(found[i] === found[4 + j], rank < 7 - width)
  }
  const paired = await pairUnits(values.slice(), { treatment: 'pair', sizes: [3, 3], width: 3 }, team)
  assert.equal([...paired.slice(0, 3)], [0, 1, 2])
  assert.equal([...paired.slice(3)].sort(), [0, 1, 2])
})

const TEXT: SpecText = {
  groups: { conv: 5, hidden: 6, glu: 3 },
  tensors: {
    'conv.weight': ['conv'],
    'conv.bias': ['conv'],
    'fc.weight': ['hidden', 'conv*4'],
    'gate.weight': [['glu', 'glu'], 'hidden'],
    'down.weight': ['hidden', 'glu'],
    'turned.weight': ['glu', 'hidden'],
    'head.weight': [null, 'hidden'],
  },
}
const shapesOf = (conv: number, hidden: number, glu: number, classes: number) => ({
  'conv.weight': [conv, 2, 3, 3],
  'conv.bias': [conv],
  'fc.weight': [hidden, 4 * conv],
  'gate.weight': [2 * glu, hidden],
  'down.weight': [hidden, glu],
  'turned.weight': [glu, hidden],
  'head.weight': [classes, hidden],
})

function network(
  models: readonly Model[],
  text: SpecText,
  widths: Record<string, number>,
  more: Partial<ZipNetwork> = {},
) {
  const specs = models.map((model) => resizedSpec(text, model))
  const groups = Object.fromEntries(
    Object.keys(specs[0]!.groups).map((name) => {
      const sizes = specs.map((spec) => spec.groups[name]!.size)
      return [name, { treatment: 'zip' as Treatment, sizes, width: widths[name] ?? Math.max(...sizes) }]
    }),
  )
  return {
    models: models.map((model) => sourceOf(model)),
    specs,
    groups,
    outAxes: {},
    heads: new Set<string>(),
    ...more,
  }
}

test('tensors are the sum of M · W · U over the models', async () => {
  const models = [randomModel(1, shapesOf(5, 6, 3, 2)), randomModel(2, shapesOf(3, 4, 2, 3))]
  const net = network(
    models,
    TEXT,
    { conv: 4, hidden: 7, glu: 2 },
    {
      heads: new Set(['head.weight']),
      outAxes: { 'turned.weight': 1 },
    },
  )
  const assigned: Record<string, Int32Array> = {
    conv: Int32Array.of(0, 1, 0, 2, 3, 0, 3, 3),
    hidden: Int32Array.of(0, 1, 2, 3, 4, 5, 2, 5, 6, 6),
    glu: Int32Array.of(0, 1, 1, 0, 0),
  }
  /** [new units, old units of a model]: means, or copies. */
  const matrix = (group: string, model: number, mean: boolean): number[][] => {
    const { sizes, width } = net.groups[group]!
    const first = model * sizes[0]!
    const all = [...assigned[group]!]
    return Array.from({ length: width }, (_, unit) =>
      Array.from({ length: sizes[model]! }, (__, i) =>
        all[first + i] === unit ? 1 / (mean ? all.filter((other) => other === unit).length : 1) : 0,
      ),
    )
  }
  const times = (m: number[][], count: number, twice = false): number[][] => {
    const wide = m.flatMap((row) =>
      Array.from({ length: count }, (_, k) =>
        row.flatMap((v) => Array.from({ length: count }, (__, l) => (k === l ? v : 0))),
      ),
    )
    return twice ? [...wide.map((r) => [...r, ...r.map(() => 0)]), ...wide.map((r) => [...r.map(() => 0), ...r])] : wide
  }
  const eye = (n: number, by = 1) =>
    Array.from({ length: n }, (_, i) => Array.from({ length: n }, (__, j) => (i === j ? by : 0)))
  const stacked = (model: number) =>
    Array.from({ length: 5 }, (_, i) =>
      Array.from({ length: [2, 3][model]! }, (__, j) => (i === j + 2 * model ? 1 : 0)),
    )
  const cases: Record<string, (model: number) => [number[][], number[][]]> = {
    'conv.weight': (m) => [matrix('conv', m, true), eye(18)],
    'conv.bias': (m) => [matrix('conv', m, true), eye(1)],
    'fc.weight': (m) => [matrix('hidden', m, true), times(matrix('conv', m, false), 4)],
    'gate.weight': (m) => [times(matrix('glu', m, true), 1, true), matrix('hidden', m, false)],
    'down.weight': (m) => [matrix('hidden', m, true), matrix('glu', m, false)],
    'turned.weight': (m) => [matrix('glu', m, false), matrix('hidden', m, true)],
    'head.weight': (m) => [stacked(m), matrix('hidden', m, false)],
  }
  for (const [name, sides] of Object.entries(cases)) {
    const weights = models.map((model) => createWeights(sourceOf(model)))
    const found = await zippedTensor(net, assigned, name, weights, () => undefined, team)
    const [rows, columns] = [sides(0)[0].length, sides(0)[1].length]
    const expected = new Float64Array(rows * columns)
    for (const [index, model] of models.entries()) {
      const [left, right] = sides(index)
      const { values } = model.get(name)!
      const width = right[0]!.length
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < columns; j++)
          for (let p = 0; p < left[0]!.length; p++)
            for (let q = 0; q < width; q++)
              expected[i * columns + j]! += left[i]![p]! * values[p * width + q]! * right[j]![q]!
    }
    near(found, expected, 1e-5)
  }
})

const MLP: SpecText = {
  groups: { fc1: 6, fc2: 5 },
  tensors: {
    'fc1.weight': ['fc1'],
    'fc1.bias': ['fc1'],
    'fc2.weight': ['fc2', 'fc1'],
    'fc2.bias': ['fc2'],
    'fc3.weight': [null, 'fc2'],
    'fc3.bias': [null],
  },
}
const mlp = (seed: number, a: number, b: number) =>
  randomModel(seed, {
    'fc1.weight': [a, 4],
    'fc1.bias': [a],
    'fc2.weight': [b, a],
    'fc2.bias': [b],
    'fc3.weight': [3, b],
    'fc3.bias': [3],
  })
const output = (model: Model, x: Float64Array) =>
  linear(model, 'fc3', relu(linear(model, 'fc2', relu(linear(model, 'fc1', x)))))

async function zipped(net: ZipNetwork, models: readonly Model[]): Promise<Model> {
  const { assigned } = await zipByWeights(net, team, SETTINGS)
  const weights = models.map((model) => createWeights(sourceOf(model)))
  const made = new Map<string, { dtype: string; shape: number[]; values: Float32Array }>()
  for (const [name, { shape }] of models[0]!) {
    const values =
      name === 'fc3.bias'
        ? Float32Array.from(
            shape.length > 0 ? models[0]!.get(name)!.values : [],
            (value, i) => (value + models[1]!.get(name)!.values[i]!) / 2,
          )
        : await zippedTensor(net, assigned, name, weights, () => undefined, team)
    const own = shape.map((old, axis) => {
      const group = name.startsWith('fc1') ? ['fc1'] : name.startsWith('fc2') ? ['fc2', 'fc1'] : [null, 'fc2']
      return group[axis] ? net.groups[group[axis]!]!.width : old
    })
    assert.is(
      values.length,
      own.reduce((product, n) => product * n, 1),
    )
    made.set(name, { dtype: 'F32', shape: own, values })
  }
  return made
}

test('with all units, the result computes the mean of the networks', async () => {
  const models = [mlp(1, 6, 5), mlp(2, 3, 4)]
  const net = network(models, MLP, { fc1: 9, fc2: 9 })
  const made = await zipped(net, models)
  const x = Float64Array.of(0.3, -0.2, 0.9, 0.5)
  const [first, second] = models.map((model) => output(model, x))
  near(
    output(made, x),
    first!.map((value, i) => (value + second![i]!) / 2),
    1e-5,
  )
})

test('a network zipped with itself in another order is the network, bit for bit', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const model = mlp(seed, 6, 5)
    const spec = readSpec(MLP, model)
    const perms = anyPermutation(spec, seed)
    const other: Model = new Map(
      [...model].map(([name, { dtype, shape, values }]) => [
        name,
        { dtype, shape, values: gather(values, shape, axisMaps(spec, perms, name, shape)) },
      ]),
    )
    const made = await zipped(network([model, other], MLP, {}), [model, other])
    for (const [name, { values }] of model) assert.equal([...made.get(name)!.values], [...values], name)
  }
})

test('least squares is the solution of the normal equations, and copies where nothing is merged', async () => {
  const random = generator(5)
  const samples = 300
  const data = [3, 2].map((size) => Float32Array.from({ length: samples * size }, random))
  const models = [mlp(1, 3, 5), mlp(2, 2, 4)]
  const inputs = data.map((values, m) =>
    createWeights(sourceOf(new Map([['fc1', { dtype: 'F32', shape: [samples, 3 - m], values }]]))),
  )
  const run = { tensor: 'fc1', group: 'fc1', before: 1, after: 1 }
  const apart = (await leastSquares(network(models, MLP, { fc1: 5 }), Int32Array.of(0, 1, 2, 3, 4), run, inputs, team))!
  near(apart[0]!, [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0], 1e-6)
  const net = network(models, MLP, { fc1: 2 })
  const assigned = Int32Array.of(0, 1, 0, 1, 1)
  const found = (await leastSquares(net, assigned, run, inputs, team))!
  const row = (s: number) => [...data[0]!.subarray(3 * s, 3 * s + 3), ...data[1]!.subarray(2 * s, 2 * s + 2)]
  const z = Array.from({ length: samples }, (_, s) => {
    const x = row(s)
    return [(x[0]! + x[2]!) / 2, (x[1]! + x[3]! + x[4]!) / 3]
  })
  const dot = (f: (s: number) => number) => z.reduce((sum, _, s) => sum + f(s), 0)
  const g = [0, 1].map((i) => [0, 1].map((j) => dot((s) => z[s]![i]! * z[s]![j]!)))
  const ridge = (1e-3 * (g[0]![0]! + g[1]![1]!)) / 2
  const [a, b, c] = [g[0]![0]! + ridge, g[0]![1]!, g[1]![1]! + ridge]
  for (let unit = 0; unit < 5; unit++) {
    const copy = assigned[unit]!
    const h = [0, 1].map((i) => dot((s) => z[s]![i]! * row(s)[unit]!) + (i === copy ? ridge : 0))
    const exact = [(c * h[0]! - b * h[1]!) / (a * c - b * b), (a * h[1]! - b * h[0]!) / (a * c - b * b)]
    const own =
      unit < 3 ? found[0]!.subarray(2 * unit, 2 * unit + 2) : found[1]!.subarray(2 * (unit - 3), 2 * (unit - 3) + 2)
    near(own, exact, 1e-4)
  }
})

test('a spec is read for a network of other sizes', () => {
  const [first, second] = [randomModel(1, shapesOf(5, 6, 3, 2)), randomModel(2, shapesOf(3, 4, 2, 3))]
  const { groups } = resizedSpec(writeSpec(readSpec(TEXT, first), first), second)
  assert.equal(
    Object.entries(groups).map(([name, { size }]) => `${name} ${size}`),
    ['conv 3', 'hidden 4', 'glu 2'],
  )
  assert.throws(() => resizedSpec(TEXT, randomModel(3, { ...shapesOf(3, 4, 2, 3), 'fc.weight': [4, 13] })), /conv\*4/)
})

test.run()
