/** The same permutations, scores and maps whatever the threads and the memory. */
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inferSpec } from '../../src/rebasin/infer/index.js'
import { cycleConsistent, mergeMany } from '../../src/rebasin/joint.js'
import { weightMatching } from '../../src/rebasin/match.js'
import { orthogonalChanges } from '../../src/rebasin/orthogonal/changes.js'
import { orthogonalMatching } from '../../src/rebasin/orthogonal/matching.js'
import { applyChanges, changedTensor } from '../../src/rebasin/orthogonal/products.js'
import { createThreadTeam, type ThreadTeam } from '../../src/rebasin/team/team.js'
import { createWeights, rowLength, type TensorSource, type WeightsBudget } from '../../src/rebasin/weights.js'
import { aligned } from './forward.js'
import { loadModel, type Model, sourceOf } from './load.js'
import { anyPermutation, randomModel } from './random.js'

const fixture = (name: string) =>
  loadModel(fileURLToPath(new URL(`../../../test/fixtures/${name}.safetensors`, import.meta.url)))

/** A network that shares its structure with the one of the same seed: a noisy copy, its units in another order. */
function copyOf(model: Model, seed: number, noise: number): Model {
  const shapes = Object.fromEntries([...model].map(([name, { shape }]) => [name, shape]))
  const other = randomModel(seed, shapes)
  const noisy: Model = new Map(
    [...model].map(([name, tensor]) => [
      name,
      { ...tensor, values: tensor.values.map((value, i) => value + noise * other.get(name)!.values[i]!) },
    ]),
  )
  const { spec } = inferSpec(sourceOf(model))
  return aligned(spec, noisy, anyPermutation(spec, seed))
}

const mlp = (seed: number, inputs: number, width: number): Model =>
  randomModel(seed, {
    'fc1.weight': [width, inputs],
    'fc1.bias': [width],
    'fc2.weight': [width, width],
    'fc3.weight': [10, width],
  })

/** The work's result on one thread, on two, and on two again. */
async function onAnyThreads(work: (pool: ThreadTeam) => Promise<unknown>): Promise<void> {
  const results: unknown[] = []
  for (const threads of [1, 2, 2]) {
    const pool = createThreadTeam(threads)
    results.push(await work(pool))
    await pool.close()
  }
  assert.equal(results[1], results[0])
  assert.equal(results[2], results[0])
}

test('weight matching is the same on any number of threads, in workers too', async () => {
  const one = mlp(1, 100, 600)
  const other = copyOf(one, 2, 0.4)
  const { spec } = inferSpec(sourceOf(one))
  await onAnyThreads((pool) => weightMatching(spec, sourceOf(one), sourceOf(other), pool))
})

for (const [name, joint] of [
  ['merge-many', mergeMany],
  ['c2m3', cycleConsistent],
] as const)
  test(`${name} is the same on any number of threads, and without a cache`, async () => {
    const one = mlp(3, 60, 330)
    const models = [one, copyOf(one, 4, 0.4), copyOf(one, 5, 0.4)].map((model) => sourceOf(model))
    const { spec } = inferSpec(models[0]!)
    const budgets = [undefined, undefined, { kept: 0, part: 1 << 14 }]
    await onAnyThreads((pool) => {
      const budget = budgets.shift()
      return joint(spec, models, pool, { restarts: 1, ...(budget ? { budget } : {}) })
    })
  })

test('orthogonal maps and the tensors that they make are the same on any number of threads', async () => {
  const width = 132
  const shapes = (): Record<string, readonly number[]> => ({
    'model.embed_tokens.weight': [300, width],
    'lm_head.weight': [300, width],
    'model.norm.weight': [width],
    'model.layers.0.input_layernorm.weight': [width],
    'model.layers.0.post_attention_layernorm.weight': [width],
    ...Object.fromEntries(
      ['q', 'k', 'v', 'o'].map((key) => [`model.layers.0.self_attn.${key}_proj.weight`, [width, width]]),
    ),
    'model.layers.0.mlp.gate_proj.weight': [600, width],
    'model.layers.0.mlp.up_proj.weight': [600, width],
    'model.layers.0.mlp.down_proj.weight': [width, 600],
  })
  const config = { num_attention_heads: 3, num_key_value_heads: 3, hidden_size: width }
  const [one, other] = [randomModel(6, shapes()), randomModel(7, shapes())]
  await onAnyThreads(async (pool) => {
    const found = await orthogonalMatching(sourceOf(one, config), sourceOf(other, config), pool, { maxIterations: 3 })
    // Nobody listens to the progress.
    assert.is(found.rounds, 3)
    const tensors: Float32Array[] = []
    for (const [name, { values, shape }] of other)
      tensors.push(await applyChanges(values, shape, orthogonalChanges(found.maps, name, shape), pool))
    return [found, tensors]
  })
})

/** A model that can be read in parts alone; `read` counts the elements of the largest one. */
function inParts(model: Model, config?: Record<string, unknown>): { source: TensorSource; largest: () => number } {
  let largest = 0
  const source: TensorSource = {
    ...sourceOf(model, config),
    read: (name) => {
      const { values, shape } = model.get(name)!
      if (shape.length > 1) throw new Error(`${name} was read whole`)
      return values
    },
    async readRows(name, rows, into) {
      const { values, shape } = model.get(name)!
      const width = rowLength(shape)
      assert.is(into.length, rows.length * width)
      rows.forEach((row, i) => void into.set(values.subarray(row * width, (row + 1) * width), i * width))
      largest = Math.max(largest, into.length)
      return true
    },
  }
  return { source, largest: () => largest }
}

const SCARCE: WeightsBudget = { kept: 0, part: 2 ** 17 }

test('matching gives the same result if models are read in small parts: convolutions, heads, fused parts', async () => {
  const pool = createThreadTeam(2)
  const [base, indep] = [fixture('lm/prose/model'), fixture('lm/indep/model')]
  const heads = { num_attention_heads: 4, num_key_value_heads: 2, hidden_size: 96 }
  const [net, other] = [fixture('digits/resnet-0'), fixture('digits/resnet-1')]
  const plain = mlp(8, 500, 400)
  for (const [one, two, config] of [
    [net, other, undefined],
    [base, indep, heads],
    [plain, copyOf(plain, 9, 0.5), undefined],
  ] as const) {
    const { spec } = inferSpec(sourceOf(one, config))
    const options = { restarts: 1, maxIterations: 2 }
    const whole = await weightMatching(spec, sourceOf(one, config), sourceOf(two, config), pool, options)
    const [a, b] = [inParts(one, config), inParts(two, config)]
    const parts = await weightMatching(spec, a.source, b.source, pool, { ...options, budget: SCARCE })
    assert.equal(parts, whole)
    // A sum goes by 256 rests at the least, which lie in as many rows at the most, before and after a move.
    const widest = Math.max(...[...one.values()].map(({ shape }) => rowLength(shape)))
    assert.ok(Math.max(a.largest(), b.largest()) <= Math.max(2 ** 15, 512 * widest))
  }
  await pool.close()
})

test('orthogonal maps are the same if models are read in small parts', async () => {
  const pool = createThreadTeam(2)
  const config = { num_attention_heads: 4, num_key_value_heads: 2, hidden_size: 96 }
  const [one, other] = [fixture('lm/prose/model'), fixture('lm/indep/model')]
  const options = { maxIterations: 2 }
  const whole = await orthogonalMatching(sourceOf(one, config), sourceOf(other, config), pool, options)
  const [a, b] = [inParts(one, config), inParts(other, config)]
  const parts = await orthogonalMatching(a.source, b.source, pool, { ...options, budget: SCARCE })
  assert.equal(parts.maps, whole.maps)
  const weights = createWeights(b.source, SCARCE)
  for (const name of ['model.embed_tokens.weight', 'model.layers.1.mlp.up_proj.weight', 'lm_head.weight']) {
    const { values, shape } = other.get(name)!
    const changes = orthogonalChanges(whole.maps, name, shape)
    assert.equal(await changedTensor(weights, name, changes, pool), await applyChanges(values, shape, changes, pool))
  }
  await pool.close()
})

test.run()
