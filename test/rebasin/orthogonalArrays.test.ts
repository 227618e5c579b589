/** Orthogonal maps survive being kept as plain arrays. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { arraysOf, mapsOf } from '../../src/rebasin/orthogonal/arrays.js'
import { type OrthogonalMaps, orthogonalForm } from '../../src/rebasin/orthogonal/form.js'

const tensors = new Map(
  Object.entries({
    'model.embed_tokens.weight': [10, 8],
    'model.layers.0.self_attn.q_proj.weight': [8, 8],
    'model.layers.0.self_attn.k_proj.weight': [4, 8],
    'model.layers.0.self_attn.v_proj.weight': [4, 8],
    'model.layers.0.self_attn.o_proj.weight': [8, 8],
    'model.layers.0.mlp.gate_proj.weight': [6, 8],
    'model.layers.0.mlp.up_proj.weight': [6, 8],
    'model.layers.0.mlp.down_proj.weight': [8, 6],
    'model.layers.0.input_layernorm.weight': [8],
    'model.layers.0.post_attention_layernorm.weight': [8],
    'model.norm.weight': [8],
    'lm_head.weight': [10, 8],
  }).map(([name, shape]) => [name, { dtype: 'F32', shape }] as const),
)
const config = { model_type: 'llama', num_attention_heads: 4, num_key_value_heads: 2, hidden_size: 8 }

test('maps become arrays, and the same maps again', () => {
  const from = (length: number, first: number) => Float64Array.from({ length }, (_, i) => first + i)
  const rotation = from(64, 0)
  const head = (place: number) => ({
    from: 1 - place,
    queries: Int32Array.from([place, 1 - place]),
    value: from(4, 10 * place),
    cos: from(1, 20 + place),
    sin: from(1, 30 + place),
  })
  const maps: OrthogonalMaps = {
    layout: orthogonalForm({ tensors, config }),
    rotation,
    layers: [{ feedForward: Int32Array.from([3, 1, 2, 0, 5, 4]), heads: [head(0), head(1)] }],
    norms: { 'model.norm.weight': { model: new Float32Array(8).fill(2), onto: new Float32Array(8).fill(3) } },
  }
  assert.equal(maps.layout.shape, { kv: 2, q: 2, width: 2 })
  assert.equal(mapsOf(structuredClone(arraysOf(maps)), { tensors, config }), maps)
})

test.run()
