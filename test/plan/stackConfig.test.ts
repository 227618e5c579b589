import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { StackedLayer } from '../../src/expr/values.js'
import { countOf } from '../../src/networks/layerCounts.js'
import { stackedConfig } from '../../src/plan/outputs/stackConfig.js'

type Config = Readonly<Record<string, unknown>>

interface Case {
  readonly prefix?: string
  readonly depth?: number
  readonly behind?: number
  /** Other stacks of the model. */
  readonly others?: Readonly<Record<string, number>>
  /** What each layer holds; the same where nothing is said. */
  readonly holds?: readonly string[]
  /** Configurations of other models that layers come from. */
  readonly configs?: Readonly<Record<string, Config>>
}

type Order = readonly (number | readonly [model: string, layer: number])[]

/** The changes that a new order of layers makes, by path, or the problems. */
function follow(config: Config, order: Order, given: Case = {}): Record<string, unknown> | readonly string[] {
  const { prefix = 'model.layers', behind = 0, others = {}, holds = [], configs = {} } = given
  const counted = Object.values(config).find((value) => typeof value === 'number')
  const depth = given.depth ?? (counted as number)
  const layer = (model: string, at: number): StackedLayer => ({ model, layer: at, holds: holds[at] ?? 'w[2]' })
  const own = Array.from({ length: depth }, (_, at) => layer('a', at))
  const stacked = order.map((one) => (typeof one === 'number' ? layer('a', one) : layer(...(one as [string, number]))))
  const list = [{ prefix, depth }, ...Object.entries(others).map(([prefix, depth]) => ({ prefix, depth }))]
  const found = stackedConfig(config, prefix, { at: [], order: stacked, own, behind }, list, (model) =>
    model === 'a' ? config : configs[model],
  )
  if (found.problems.length > 0) return found.problems
  return Object.fromEntries(found.edits.map(({ path, value }) => [path.join('.'), value]))
}

const refused = (config: Config, order: Order, words: RegExp, given: Case = {}): void => {
  const found = follow(config, order, given)
  assert.ok(Array.isArray(found), JSON.stringify(found))
  assert.match((found as string[]).join('; '), words)
}

test('lists and texts with one entry per layer are updated', () => {
  const config = {
    num_hidden_layers: 4,
    layer_types: ['full', 'sliding', 'linear', 'full'],
    intermediate_size: [10, 20, 30, 40],
    block_configs: [{ a: 1 }, { a: 2 }, { a: 3 }, { a: 4 }],
    hybrid_override_pattern: 'M*-E',
    moe_layer_freq: [0, 1, 1, 1],
    attn_type_list: [0, 1, 0, 1],
    ffn: { multipliers: [1, 2, 3, 4] },
    per_layer_bits: { 0: 4, 3: 8 },
    hidden_act: 'silu',
    model_type: 'abcd',
    eos_token_id: [1, 2, 3, 4],
    rope_scaling: { long_factor: [1, 1, 1, 1] },
  }
  assert.equal(follow(config, [0, 3, 3, 1, 0]), {
    num_hidden_layers: 5,
    layer_types: ['full', 'full', 'full', 'sliding', 'full'],
    intermediate_size: [10, 40, 40, 20, 10],
    block_configs: [{ a: 1 }, { a: 4 }, { a: 4 }, { a: 2 }, { a: 1 }],
    hybrid_override_pattern: 'MEE*M',
    moe_layer_freq: [0, 1, 1, 1, 0],
    attn_type_list: [0, 1, 1, 1, 0],
    'ffn.multipliers': [1, 4, 4, 2, 1],
    per_layer_bits: { 0: 4, 1: 8, 2: 8, 4: 4 },
  })
  assert.equal(follow(config, [0, 1, 2, 3]), {})
})

test('a lower-case text is updated if it repeats a few letters, and is an error if only its key refers to layers', () => {
  const order = [0, 1, 4, 5]
  assert.equal(follow({ num_hidden_layers: 6, mixers: 'mmammm', model_type: 'gemmaa', hidden_act: 'tanhsh' }, order), {
    num_hidden_layers: 4,
    mixers: 'mmmm',
  })
  refused({ num_hidden_layers: 6, cross_layer_interval: 2 }, order, /cross_layer_interval: another stack of layers/)
  refused({ num_hidden_layers: 6, layer_codes: 'abcdef' }, order, /layer_codes: it may hold one letter per layer/)
  assert.equal(follow({ num_hidden_layers: 6, rope_theta: [1, 2, 3, 4, 5, 6] }, order), {
    num_hidden_layers: 4,
    rope_theta: [1, 2, 5, 6],
  })
})

test('lists of layer numbers are updated, as lists or as texts', () => {
  const config = {
    num_hidden_layers: 6,
    mlp_only_layers: [0, 4],
    cross_attention_layers: [1, 5],
    moe_layers_enum: '3,4,5',
    attn_layer_indices: [],
    full_attn_idxs: [2],
  }
  assert.equal(follow(config, [0, 1, 4, 4, 5]), {
    num_hidden_layers: 5,
    mlp_only_layers: [0, 2, 3],
    cross_attention_layers: [1, 4],
    moe_layers_enum: '2,3,4',
    full_attn_idxs: [],
  })
})

test('thresholds are updated if the layers below them stay first', () => {
  const config = { num_hidden_layers: 6, first_k_dense_replace: 2, max_window_layers: 6 }
  assert.equal(follow(config, [0, 1, 1, 4, 5, 2, 3]), {
    num_hidden_layers: 7,
    first_k_dense_replace: 3,
    max_window_layers: 7,
  })
  assert.equal(follow(config, [3, 4]), { num_hidden_layers: 2, first_k_dense_replace: 0, max_window_layers: 2 })
  assert.equal(follow(config, [0]), { num_hidden_layers: 1, max_window_layers: 1 })
  refused(config, [0, 4, 1, 5], /first_k_dense_replace/)
  refused({ num_hidden_layers: 4, max_window_layers: 3 }, [3, 0, 1, 2], /max_window_layers/)
  assert.equal(follow({ num_hidden_layers: 4, max_window_layers: 3, use_sliding_window: false }, [3, 0, 1, 2, 0]), {
    num_hidden_layers: 5,
  })
  assert.equal(follow({ num_hidden_layers: 4, moe_layer_start_index: 1, moe_layer_end_index: 3 }, [0, 1, 2, 3, 3]), {
    num_hidden_layers: 5,
    moe_layer_end_index: 4,
  })
})

test('a setting for one in N layers needs an order that keeps the pattern, or an equivalent list', () => {
  const config = { num_hidden_layers: 8, full_attention_interval: 4 }
  assert.equal(follow(config, [0, 1, 2, 3]), { num_hidden_layers: 4 })
  assert.equal(follow(config, [4, 5, 6, 7, 0, 1, 2, 3]), {})
  refused(config, [2, 3, 4, 5], /full_attention_interval: it applies to one in 4 layers/)
  const types = ['l', 'l', 'l', 'f', 'l', 'l', 'l', 'f']
  assert.equal(follow({ ...config, layer_types: types }, [2, 3]), { num_hidden_layers: 2, layer_types: ['l', 'f'] })
  assert.equal(follow({ num_hidden_layers: 8, decoder_sparse_step: 1 }, [5, 3]), { num_hidden_layers: 2 })
  refused({ num_hidden_layers: 8, decoder_sparse_step: 2 }, [0, 2], /decoder_sparse_step/)
  refused({ num_hidden_layers: 8, some_layer_interval: 3 }, [1, 2, 3], /some_layer_interval/)
  refused({ num_hidden_layers: 8, window_pattern: 'SSL' }, [1, 2, 3], /window_pattern/)
  assert.equal(follow({ num_hidden_layers: 8, window_pattern: 'SSL' }, [0, 1, 2, 6, 7]), { num_hidden_layers: 5 })
})

test('the offset of a period is shifted if the range starts elsewhere in it', () => {
  const config = { num_hidden_layers: 8, attn_layer_period: 4, attn_layer_offset: 1 }
  assert.equal(follow(config, [2, 3, 4, 5, 6, 7]), { num_hidden_layers: 6, attn_layer_offset: 3 })
  refused(config, [0, 1, 1, 2], /attn_layer_period/)
})

test('repeated kinds, and lists that repeat up to the last layer, are written in full', () => {
  assert.equal(follow({ num_layers: 4, attention_types: [[['global', 'local'], 2]] }, [1, 2, 2]), {
    num_layers: 3,
    attention_types: [[['local', 'global', 'global'], 1]],
  })
  assert.equal(follow({ num_hidden_layers: 5, block_types: ['r', 'r', 'a'] }, [2, 3]), {
    num_hidden_layers: 2,
    block_types: ['a', 'r'],
  })
})

test('encoder and decoder are counted separately', () => {
  const bart = { encoder_layers: 4, decoder_layers: 2, num_hidden_layers: 4 }
  const others = { 'model.decoder.layers': 2, 'model.encoder.layers': 4 }
  const { 'model.encoder.layers': _, ...decoder } = others
  assert.equal(follow(bart, [0, 1, 2], { prefix: 'model.encoder.layers', depth: 4, others: decoder }), {
    encoder_layers: 3,
    num_hidden_layers: 3,
  })
  const encoder = { 'model.encoder.layers': 4 }
  assert.equal(follow(bart, [0], { prefix: 'model.decoder.layers', depth: 2, others: encoder }), { decoder_layers: 1 })
  const t5 = { num_layers: 3, num_decoder_layers: 3 }
  assert.equal(follow(t5, [1], { prefix: 'decoder.block', others: { 'encoder.block': 3 } }), { num_decoder_layers: 1 })
  assert.equal(follow(t5, [1], { prefix: 'encoder.block', others: { 'decoder.block': 3 } }), { num_layers: 1 })
  const shared = { num_layers: 3, num_decoder_layers: null }
  refused(shared, [1], /one key counts the layers/, { prefix: 'encoder.block', others: { 'decoder.block': 3 } })
})

test('parts of a configuration belong to their own stacks', () => {
  const config = {
    text_config: { num_hidden_layers: 4, layer_types: ['a', 'b', 'c', 'd'] },
    vision_config: { num_hidden_layers: 4, layer_types: ['a', 'b', 'c', 'd'] },
    vision_feature_layer: -2,
  }
  const vision = { 'vision_tower.encoder.layers': 4 }
  const language = { 'language_model.model.layers': 4 }
  assert.equal(follow(config, [2], { prefix: 'language_model.model.layers', depth: 4, others: vision }), {
    'text_config.num_hidden_layers': 1,
    'text_config.layer_types': ['c'],
  })
  const tower = { prefix: 'vision_tower.encoder.layers', depth: 4, others: language }
  refused(config, [0, 1], /vision_feature_layer/, tower)
  assert.equal(follow(config, [1, 2, 3], tower), {
    'vision_config.num_hidden_layers': 3,
    'vision_config.layer_types': ['b', 'c', 'd'],
  })
  const flat = { num_hidden_layers: 4, vision_config: { depth: 6, fullatt_block_indexes: [1, 5] } }
  assert.equal(follow(flat, [0, 1], { depth: 4, others: { 'visual.blocks': 6 } }), { num_hidden_layers: 2 })
  assert.equal(follow(flat, [0, 1, 5], { prefix: 'visual.blocks', depth: 6, others: { 'model.layers': 4 } }), {
    'vision_config.depth': 3,
    'vision_config.fullatt_block_indexes': [1, 2],
  })
})

test('extra layers after the last counted layer stay at the end', () => {
  const config = { num_hidden_layers: 3, num_nextn_predict_layers: 1, layer_types: ['a', 'b', 'c', 'm'] }
  assert.is(countOf(config, { prefix: 'model.layers', depth: 4 }, []), 3)
  assert.is(countOf({ num_hidden_layers: 3 }, { prefix: 'model.layers', depth: 4 }, []), 4)
  assert.equal(follow(config, [0, 2], { depth: 3, behind: 1 }), { num_hidden_layers: 2, layer_types: ['a', 'c', 'm'] })
})

test('settings of a layer come from the configuration of its model', () => {
  const a = { num_hidden_layers: 3, layer_types: ['f', 'f', 'f'], first_k_dense_replace: 1 }
  const b = { num_hidden_layers: 3, layer_types: ['s', 's', 's'], first_k_dense_replace: 0 }
  assert.equal(follow(a, [0, 1, ['b', 2]], { configs: { b } }), { layer_types: ['f', 'f', 's'] })
  refused(a, [0, 1, ['b', 2]], /layer_types/, { configs: { b: { num_hidden_layers: 3 } } })
})

test('if the configuration does not describe differing layers, their positions must fit', () => {
  const config = { num_layers: 3 }
  const holds = ['w[2] bias[4]', 'w[2]', 'w[2]']
  assert.equal(follow(config, [0, 1, 2, 1, 2], { holds }), { num_layers: 5 })
  refused(config, [1, 2], /no setting describes which.*bias/, { holds })
  const typed = { num_layers: 3, layer_types: ['x', 'y', 'y'] }
  assert.equal(follow(typed, [1, 0], { holds }), { num_layers: 2, layer_types: ['y', 'x'] })
  refused({ num_layers: 4 }, [1], /num_layers is 4, but model.layers has 3 layers/, { depth: 3 })
  refused({}, [1], /no key counts the layers/, { depth: 3 })
})

test('layers in several lists, and settings with unknown meaning, are errors', () => {
  refused({ n_layers: 3 }, [1], /one key counts the layers/, {
    prefix: 'transformer.attentions',
    others: { 'transformer.ffns': 3 },
  })
  refused({ num_hidden_layers: 3, num_kv_shared_layers: 1 }, [0, 1], /num_kv_shared_layers/)
  refused({ num_hidden_layers: 3, hidden_size_per_layer_input: 8 }, [0, 1], /hidden_size_per_layer_input/)
})

test('module names in quantization settings move with their layers', () => {
  const ignored = ['lm_head', 'model.layers.0.mlp', 'model.layers.2.mlp']
  const config = { num_hidden_layers: 3, quantization_config: { modules_to_not_convert: ignored } }
  assert.equal(follow(config, [2, 1, 2]), {})
  assert.equal(follow(config, [2, 1, 0]), {
    'quantization_config.modules_to_not_convert': ['lm_head', 'model.layers.2.mlp', 'model.layers.0.mlp'],
  })
  assert.equal(follow(config, [1]), {
    num_hidden_layers: 1,
    'quantization_config.modules_to_not_convert': ['lm_head'],
  })
  const patterns = { num_hidden_layers: 3, quantization_config: { ignore: ['re:.*layers\\.2\\..*'] } }
  refused(patterns, [1], /patterns name individual layers/)
})

test.run()
