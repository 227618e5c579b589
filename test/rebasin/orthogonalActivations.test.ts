/** Orthogonal matching with activations gives back a known change of basis. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { generator } from '../../src/rebasin/order.js'
import { orthogonalChanges, turnedOf } from '../../src/rebasin/orthogonal/changes.js'
import { type OrthogonalMaps, orthogonalForm } from '../../src/rebasin/orthogonal/form.js'
import { layerChanges } from '../../src/rebasin/orthogonal/heads.js'
import { orthogonalMatching } from '../../src/rebasin/orthogonal/matching.js'
import { type AxisChange, applyChanges } from '../../src/rebasin/orthogonal/products.js'
import { labelsOf, roleOf, rolesOf } from '../../src/rebasin/orthogonal/roles.js'
import { createThreadTeam } from '../../src/rebasin/team/team.js'
import { type Model, sourceOf } from './load.js'
import { near, randomModel } from './random.js'

const team = createThreadTeam(1)
test.after(() => team.close())

const [HIDDEN, UNITS, SAMPLES] = [8, 10, 300]
const config = { model_type: 'llama', num_attention_heads: 4, num_key_value_heads: 2, hidden_size: HIDDEN, head_dim: 4 }
const LAYER = 'model.layers.0'
const a: Model = randomModel(1, {
  'model.embed_tokens.weight': [20, HIDDEN],
  [`${LAYER}.input_layernorm.weight`]: [HIDDEN],
  [`${LAYER}.post_attention_layernorm.weight`]: [HIDDEN],
  [`${LAYER}.self_attn.q_proj.weight`]: [16, HIDDEN],
  [`${LAYER}.self_attn.k_proj.weight`]: [8, HIDDEN],
  [`${LAYER}.self_attn.v_proj.weight`]: [8, HIDDEN],
  [`${LAYER}.self_attn.o_proj.weight`]: [HIDDEN, 16],
  [`${LAYER}.mlp.gate_proj.weight`]: [UNITS, HIDDEN],
  [`${LAYER}.mlp.up_proj.weight`]: [UNITS, HIDDEN],
  [`${LAYER}.mlp.down_proj.weight`]: [HIDDEN, UNITS],
  'model.norm.weight': [HIDDEN],
  'lm_head.weight': [20, HIDDEN],
})

function randomMaps(): OrthogonalMaps {
  const random = generator(7)
  const matrix = (n: number) =>
    team.linalg.polar(
      Float64Array.from({ length: n * n }, () => random() - 0.5),
      n,
    )
  const angles = (n: number) => Float64Array.from({ length: n }, () => 6 * random())
  const head = (from: number) => {
    const turns = angles(2)
    return {
      ...{ from, queries: Int32Array.from([1, 0]), value: matrix(4) },
      cos: turns.map(Math.cos),
      sin: turns.map(Math.sin),
    }
  }
  const rotation = matrix(HIDDEN)
  const norms = Object.fromEntries(
    [...a].flatMap(([name, { values }]) =>
      name.endsWith('norm.weight') ? [[name, { model: values, onto: values }] as const] : [],
    ),
  )
  const feedForward = Int32Array.from([3, 1, 2, 0, 5, 4, 9, 8, 7, 6])
  const signs = Int32Array.from({ length: UNITS }, (_, i) => (i % 3 === 0 ? -1 : 1))
  return {
    ...{ layout: orthogonalForm(sourceOf(a, config)), rotation, norms },
    layers: [{ feedForward, signs, heads: [head(1), head(0)] }],
  }
}

async function changed(model: Model, maps: OrthogonalMaps): Promise<Model> {
  const out: Model = new Map()
  for (const [name, { dtype, shape, values }] of model) {
    const made = await applyChanges(values, shape, orthogonalChanges(maps, name, shape), team)
    out.set(name, { dtype, shape, values: made })
  }
  return out
}

/** Random samples by label, and the same in the changed network. */
async function measured(maps: OrthogonalMaps): Promise<readonly [Model, Model]> {
  const of = layerChanges(maps.layers[0]!, maps.layout.shape)
  const stream: AxisChange[] = [{ axis: 1, blocks: [{ from: 0, size: HIDDEN, matrix: turnedOf(maps).turned }] }]
  const across = (changes: readonly AxisChange[]) => changes.map((change) => ({ ...change, axis: 1 }))
  const places: [string, number, AxisChange[]][] = [
    [`s@${LAYER}.input_layernorm.in`, HIDDEN, stream],
    ['s@model.norm.in', HIDDEN, stream],
    [`q@${LAYER}.self_attn.q_proj`, 16, across(of.q)],
    [`k@${LAYER}.self_attn.k_proj`, 8, across(of.k)],
    [`v@${LAYER}.self_attn.v_proj`, 8, across(of.v)],
    [`v@${LAYER}.self_attn.o_proj.in`, 16, across(of.o)],
    [`f@${LAYER}.mlp.gate_proj`, UNITS, across(of.gate)],
    [`f@${LAYER}.mlp.down_proj.in`, UNITS, across(of.up)],
  ]
  const shapes = Object.fromEntries(places.map(([name, width]) => [name, [SAMPLES, width]]))
  const own = randomModel(3, shapes)
  const other: Model = new Map()
  for (const [name, width, changes] of places) {
    const shape = [SAMPLES, width]
    const values = await applyChanges(own.get(name)!.values, shape, changes, team)
    other.set(name, { dtype: 'F32', shape, values })
  }
  return [own, other]
}

test('bases, heads, order and signs of units come back, by activations alone and with the weights', async () => {
  const maps = randomMaps()
  const b = await changed(a, maps)
  const [own, other] = await measured(maps)
  const { roles, missing, wrong } = rolesOf(orthogonalForm(sourceOf(a, config)), own)
  assert.equal([roles.size, missing, wrong], [8, [], []])
  for (const alone of [true, false]) {
    const activations = {
      ...{ roles, alone },
      a: { of: 'a', source: sourceOf(own) },
      b: { of: 'b', source: sourceOf(other) },
    }
    const found = await orthogonalMatching(sourceOf(a, config), sourceOf(b, config), team, { activations })
    const back = await changed(b, found.maps)
    for (const [name, { values }] of a) near(back.get(name)!.values, values, 2e-4)
    assert.ok(found.similarityAfter > 0.9999 && found.correlation!.after > 0.9999)
    assert.ok(found.similarityBefore < 0.9 && found.correlation!.before < 0.9)
    const small = { kept: 0, part: 4096 }
    const again = await orthogonalMatching(sourceOf(a, config), sourceOf(b, config), team, {
      activations,
      budget: small,
    })
    assert.equal(again.maps.layers, found.maps.layers)
  }
})

test('labels: where a tensor was measured', () => {
  const labels = labelsOf(orthogonalForm(sourceOf(a, config)))
  const kinds = ['norm.in', 'norm', 'layers.0.mlp.gate_proj', 'layers.0.mlp.gate_proj.in', 'layers.0.self_attn.o_proj']
  assert.equal(
    kinds.map((label) => roleOf(`g@model.${label}`, labels)),
    [{ kind: 'stream' }, undefined, { kind: 'units', layer: 0, signed: false }, undefined, undefined],
  )
  assert.is(roleOf('model.norm.in', labels), undefined)
  const { missing } = rolesOf(
    orthogonalForm(sourceOf(a, config)),
    new Map([['s@model.norm.in', { shape: [5, HIDDEN] }]]),
  )
  const places = ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'mlp.down_proj.in']
  assert.equal(
    missing,
    places.map((place) => `${LAYER}.${place}`),
  )
})

test.run()
