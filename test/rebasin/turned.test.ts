/** Orthogonal alignment of transformers with LayerNorm: the function stays, and a turned copy comes back. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { generator } from '../../src/rebasin/order.js'
import { turnedTensor } from '../../src/rebasin/orthogonal/aligned.js'
import { type LayerMaps, type OrthogonalMaps, orthogonalForm } from '../../src/rebasin/orthogonal/form.js'
import type { Layout } from '../../src/rebasin/orthogonal/layout.js'
import { orthogonalMatching } from '../../src/rebasin/orthogonal/matching.js'
import { layoutOf } from '../../src/rebasin/orthogonal/readLayout.js'
import { createThreadTeam } from '../../src/rebasin/team/team.js'
import { createWeights } from '../../src/rebasin/weights.js'
import { type Model, sourceOf } from './load.js'
import { near, randomModel } from './random.js'
import { bert, gpt2, vit } from './transformers.js'

const team = createThreadTeam(1)
test.after(() => team.close())

const [HIDDEN, HEADS, FFN, LAYERS] = [12, 3, 20, 2]
type Config = Record<string, unknown>

const gpt2Model = (seed: number): Model =>
  randomModel(seed, {
    'transformer.wte.weight': [11, HIDDEN],
    'transformer.wpe.weight': [6, HIDDEN],
    ...layers((at) => ({
      ...norms(`transformer.h.${at}.ln_1`, `transformer.h.${at}.ln_2`),
      ...bothOf(`transformer.h.${at}.attn.c_attn`, [HIDDEN, 3 * HIDDEN], 3 * HIDDEN),
      ...bothOf(`transformer.h.${at}.attn.c_proj`, [HIDDEN, HIDDEN], HIDDEN),
      ...bothOf(`transformer.h.${at}.mlp.c_fc`, [HIDDEN, FFN], FFN),
      ...bothOf(`transformer.h.${at}.mlp.c_proj`, [FFN, HIDDEN], HIDDEN),
    })),
    ...norms('transformer.ln_f'),
    'lm_head.weight': [11, HIDDEN],
  })
const GPT2: Config = { model_type: 'gpt2', n_head: HEADS, architectures: ['GPT2LMHeadModel'] }
const UNTIED: Config = { ...GPT2, tie_word_embeddings: false }

const vitModel = (seed: number): Model => {
  const at = 'vit.encoder.layer'
  const attention = (key: string) => bothOf(key, [HIDDEN, HIDDEN], HIDDEN)
  return randomModel(seed, {
    'vit.embeddings.cls_token': [1, 1, HIDDEN],
    'vit.embeddings.position_embeddings': [1, 5, HIDDEN],
    ...bothOf('vit.embeddings.patch_embeddings.projection', [HIDDEN, 1, 2, 2], HIDDEN),
    ...layers((i) => ({
      ...norms(`${at}.${i}.layernorm_before`, `${at}.${i}.layernorm_after`),
      ...attention(`${at}.${i}.attention.attention.query`),
      ...attention(`${at}.${i}.attention.attention.key`),
      ...attention(`${at}.${i}.attention.attention.value`),
      ...attention(`${at}.${i}.attention.output.dense`),
      ...bothOf(`${at}.${i}.intermediate.dense`, [FFN, HIDDEN], FFN),
      ...bothOf(`${at}.${i}.output.dense`, [HIDDEN, FFN], HIDDEN),
    })),
    ...norms('vit.layernorm'),
    ...bothOf('classifier', [4, HIDDEN], 4),
  })
}
const VIT: Config = { model_type: 'vit', num_attention_heads: HEADS }

const bertModel = (seed: number): Model => {
  const at = 'bert.encoder.layer'
  return randomModel(seed, {
    'bert.embeddings.word_embeddings.weight': [9, HIDDEN],
    'bert.embeddings.position_embeddings.weight': [6, HIDDEN],
    'bert.embeddings.token_type_embeddings.weight': [2, HIDDEN],
    ...norms('bert.embeddings.LayerNorm'),
    ...layers((i) => ({
      ...bothOf(`${at}.${i}.attention.self.query`, [HIDDEN, HIDDEN], HIDDEN),
      ...bothOf(`${at}.${i}.attention.self.key`, [HIDDEN, HIDDEN], HIDDEN),
      ...bothOf(`${at}.${i}.attention.self.value`, [HIDDEN, HIDDEN], HIDDEN),
      ...bothOf(`${at}.${i}.attention.output.dense`, [HIDDEN, HIDDEN], HIDDEN),
      ...bothOf(`${at}.${i}.intermediate.dense`, [FFN, HIDDEN], FFN),
      ...bothOf(`${at}.${i}.output.dense`, [HIDDEN, FFN], HIDDEN),
      ...norms(`${at}.${i}.attention.output.LayerNorm`, `${at}.${i}.output.LayerNorm`),
    })),
    ...bothOf('bert.pooler.dense', [HIDDEN, HIDDEN], HIDDEN),
    ...bothOf('cls.predictions.transform.dense', [HIDDEN, HIDDEN], HIDDEN),
    ...norms('cls.predictions.transform.LayerNorm'),
    'cls.predictions.bias': [9],
    ...bothOf('cls.seq_relationship', [2, HIDDEN], 2),
  })
}
const BERT: Config = { model_type: 'bert', num_attention_heads: HEADS }

function layers(make: (layer: number) => Record<string, readonly number[]>): Record<string, readonly number[]> {
  return Object.assign({}, ...Array.from({ length: LAYERS }, (_, layer) => make(layer)))
}
const bothOf = (name: string, weight: readonly number[], bias: number): Record<string, readonly number[]> => ({
  [`${name}.weight`]: weight,
  [`${name}.bias`]: [bias],
})
const norms = (...names: string[]): Record<string, readonly number[]> =>
  Object.assign({}, ...names.map((name) => bothOf(name, [HIDDEN], HIDDEN)))

const TOKENS = [1, 4, 0, 7, 3]
const PATCHES = Array.from({ length: 4 }, (_, i) => Float64Array.from([1 - i, 0.5, i * 0.3, -0.7]))
const runGpt2 = (model: Model) => {
  const plain = new Map([...model].map(([name, tensor]) => [name.replace(/^transformer\./, ''), tensor]))
  return gpt2(plain, LAYERS, HEADS, TOKENS, plain.get('lm_head.weight'))
}
const runVit = (model: Model) => vit(model, LAYERS, HEADS, PATCHES)
const runBert = (model: Model) => bert(model, LAYERS, HEADS, TOKENS)

async function made(model: Model, config: Config, maps: OrthogonalMaps): Promise<Model> {
  const weights = createWeights(sourceOf(model, config))
  const out: Model = new Map()
  for (const [name, tensor] of model)
    out.set(name, { ...tensor, values: await turnedTensor(maps, weights, name, team) })
  return out
}

/** Random maps of everything that a layout allows, with the model's own norms. */
function randomMaps(layout: Layout, model: Model, seed: number): OrthogonalMaps {
  const random = generator(seed)
  const matrix = (n: number) =>
    team.linalg.polar(
      Float64Array.from({ length: n * n }, () => random() - 0.5),
      n,
    )
  const order = (n: number) => {
    const keys = Array.from({ length: n }, () => random())
    return Int32Array.from(keys.map((_, i) => i).sort((x, y) => keys[x]! - keys[y]!))
  }
  const { hidden: n, basis, shape } = layout
  const rotation = new Float64Array(n * n)
  const places = order(n)
  if (basis === 'permuted') for (let i = 0; i < n; i++) rotation[places[i]! * n + i] = 1
  else {
    // A rotation of what is at right angles to the vector of ones: a reflection takes the last axis there and back.
    const inner = matrix(n - 1)
    const axis = Float64Array.from({ length: n }, (_, i) => (i === n - 1 ? 1 : 0) - 1 / Math.sqrt(n))
    const length = axis.reduce((sum, x) => sum + x * x, 0)
    const house = (i: number, j: number) => (i === j ? 1 : 0) - (2 * axis[i]! * axis[j]!) / length
    const block = (i: number, j: number) => (i === n - 1 || j === n - 1 ? (i === j ? 1 : 0) : inner[i * (n - 1) + j]!)
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        for (let p = 0; p < n; p++)
          for (let q = 0; q < n; q++) rotation[i * n + j]! += house(i, p) * block(p, q) * house(q, j)
  }
  const layerMaps = (): LayerMaps => ({
    feedForward: order(layout.units),
    heads: Array.from(order(shape!.kv), (from) => ({
      ...{ from, queries: Int32Array.from([0]), value: matrix(shape!.width), turn: matrix(shape!.width) },
      ...{ cos: new Float64Array(0), sin: new Float64Array(0) },
    })),
  })
  const found: Record<string, { model: Float32Array; onto: Float32Array }> = {}
  for (const [name, { kind }] of layout.parts)
    if (kind === 'norm' || kind === 'factor') {
      const { values } = model.get(name)!
      found[name] = { model: values, onto: values.map((value, i) => value * (1 + 0.3 * Math.sin(i)) + 0.01) }
    }
  return { layout, rotation, layers: layout.layers.map(layerMaps), norms: basis === 'rotated' ? found : {} }
}

for (const [name, make, config, run, basis] of [
  ['gpt2 with a head of its own', gpt2Model, UNTIED, runGpt2, 'rotated'],
  ['vit', vitModel, VIT, runVit, 'rotated'],
  ['bert', bertModel, BERT, runBert, 'permuted'],
] as const)
  test(`${name}: a turned copy computes the same and is found again`, async () => {
    const a = make(1)
    const layout = orthogonalForm(sourceOf(a, config))
    assert.is(layout.basis, basis)
    const b = await made(a, config, randomMaps(layout, a, 5))
    const same = (one: Model, other: Model, tolerance: number) => {
      const [before, after] = [run(one), run(other)]
      for (const [i, row] of before.entries()) near(row, after[i]!, tolerance)
    }
    same(a, b, 1e-4)
    assert.ok(
      [...a].some(([key, { values }]) => values.some((value, i) => Math.abs(value - b.get(key)!.values[i]!) > 0.1)),
    )
    const { maps, similarityBefore, similarityAfter } = await orthogonalMatching(
      sourceOf(a, config),
      sourceOf(b, config),
      team,
    )
    assert.ok(similarityBefore < 0.9 && similarityAfter > 0.99999)
    const back = await made(b, config, maps)
    same(a, back, 1e-4)
    // What only changes the mean of the stream is lost: LayerNorm subtracts it.
    for (const [key, { values }] of a)
      if (layout.parts.get(key)!.kind === 'norm') near(back.get(key)!.values, values, 1e-6)
    // The average with the first one is the same network again.
    const middle: Model = new Map(
      [...a].map(([key, tensor]) => [
        key,
        { ...tensor, values: tensor.values.map((value, i) => (value + back.get(key)!.values[i]!) / 2) },
      ]),
    )
    same(a, middle, 1e-3)
    const [other, third] = [make(2), make(3)]
    const found = await orthogonalMatching(sourceOf(other, config), sourceOf(third, config), team)
    same(third, await made(third, config, found.maps), 1e-3)
  })

test('what allows only other orders, or no map of the stream', () => {
  const of = (model: Model, config?: Config) => {
    const layout = layoutOf(sourceOf(model, config))
    return typeof layout === 'string' ? layout : [layout.basis, layout.kind, layout.rotary, Object.keys(layout.kept)]
  }
  const without = (model: Model, pattern: RegExp): Model => new Map([...model].filter(([name]) => !pattern.test(name)))
  const stream = ['residual stream']
  assert.equal(of(gpt2Model(1), UNTIED), ['rotated', 'layer', 0, []])
  assert.equal(of(gpt2Model(1), GPT2), ['permuted', 'layer', 0, stream])
  assert.equal(of(without(gpt2Model(1), /lm_head/), GPT2), ['permuted', 'layer', 0, stream])
  assert.equal(of(without(gpt2Model(1), /wte/), UNTIED), ['permuted', 'layer', 0, stream])
  assert.equal(of(gpt2Model(1), { tie_word_embeddings: false }), ['rotated', 'layer', undefined, ['heads']])
  const rotary = ['rotated', 'either', undefined, ['queries and keys']]
  assert.equal(of(without(gpt2Model(1), /wpe|bias$/), { n_head: HEADS, tie_word_embeddings: false }), rotary)
  assert.equal(of(without(vitModel(1), /classifier/), VIT), ['kept', 'layer', 0, stream])
  assert.equal(of(bertModel(1), BERT), ['permuted', 'layer', 0, stream])
  assert.match(String(of(without(vitModel(1), /^vit\.layernorm/), VIT)), 'without a norm')
  assert.match(String(of(randomModel(1, { 'fc1.weight': [3, 3] }))), 'none of them')
  const odd = new Map([
    ...vitModel(1),
    ['vit.adapter.weight', { dtype: 'F32', shape: [1], values: new Float32Array(1) }],
  ])
  assert.match(String(of(odd as Model, VIT)), 'vit.adapter.weight')
  assert.match(String(of(vitModel(1), { ...VIT, clip_qkv: 8 })), 'clip_qkv')
})

test('a norm whose readers have no biases keeps a bias of its own', async () => {
  const [a, b] = [gpt2Model(1), gpt2Model(2)]
  const { maps } = await orthogonalMatching(sourceOf(a, UNTIED), sourceOf(b, UNTIED), team)
  const back = await made(b, UNTIED, maps)
  const [before, after] = [runGpt2(b), runGpt2(back)]
  for (const [i, row] of before.entries()) near(row, after[i]!, 1e-3)
  near(back.get('transformer.ln_f.weight')!.values, a.get('transformer.ln_f.weight')!.values, 1e-7)
  near(back.get('transformer.h.1.ln_1.bias')!.values, a.get('transformer.h.1.ln_1.bias')!.values, 1e-7)
  const bias = back.get('transformer.ln_f.bias')!.values
  assert.ok(bias.some((value, i) => Math.abs(value - a.get('transformer.ln_f.bias')!.values[i]!) > 0.01))
})

test('a norm weight of zero that would be divided by is an error', async () => {
  const [a, b] = [vitModel(1), vitModel(2)]
  a.get('vit.layernorm.weight')!.values[3] = 0
  try {
    await orthogonalMatching(sourceOf(a, VIT), sourceOf(b, VIT), team)
    assert.unreachable()
  } catch (error) {
    assert.match(
      String((error as Error).message),
      'vit.layernorm.weight of the model to align onto has a weight of zero',
    )
  }
})

test.run()
