/** Tensors of fused attention that can't be taken apart or put together, with the reason. */
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LogicalTensor } from '../../src/checkpoints/types.js'
import { convertTensors } from '../../src/layouts/convert.js'
import { formIn } from '../../src/layouts/recognise.js'
import type { Facts, Settings } from '../../src/layouts/types.js'
import { layoutOf, opened } from '../support/layouts.js'
import { fixture } from '../support/terge.js'

/** What is wrong with a model of a fixture, read as another layout, after a change. */
async function problemsOf(
  folder: string,
  [from, to]: readonly [string, string],
  change: (tensors: Map<string, LogicalTensor>) => void,
  config?: Settings,
): Promise<readonly string[]> {
  const model = await opened(path.join(fixture('layouts'), folder))
  const tensors = new Map(model.tensors)
  change(tensors)
  const facts: Facts = { config, shapes: tensors }
  const { problems } = convertTensors(tensors, layoutOf(from).form, layoutOf(to).form, facts)
  return problems.map(({ tensor, message }) => `${tensor} ${message}`)
}

const keep = (): void => {}
const apart = (name: string): readonly [string, string] => [`${name}/fused`, `${name}/parts`]
const together = (name: string): readonly [string, string] => [`${name}/parts`, `${name}/fused`]
const NEOX = { num_attention_heads: 6, hidden_size: 24 }

test('a gate without up, and a query without key and value, make no tensor', async () => {
  const problems = await problemsOf('phi3/parts', together('phi3'), (tensors) => {
    tensors.delete('model.layers.0.mlp.up_proj.weight')
    tensors.delete('model.layers.1.self_attn.v_proj.weight')
  })
  assert.equal([...problems].sort(), [
    'model.layers.0.mlp.gate_up_proj.weight can be made only in part: there is no model.layers.0.mlp.up_proj.weight',
    'model.layers.1.self_attn.qkv_proj.weight can be made only in part: there is no model.layers.1.self_attn.v_proj.weight',
  ])
})

test('a tensor of another size than the configuration says is refused in both directions', async () => {
  const phi3 = { num_attention_heads: 6, num_key_value_heads: 2, hidden_size: 24 }
  const [first] = await problemsOf('phi3/fused', apart('phi3'), keep, phi3)
  assert.is(first, 'model.layers.0.self_attn.qkv_proj.weight has the size 48, but its parts are 24 + 8 + 8')
  const [second] = await problemsOf('phi3/parts', together('phi3'), keep, phi3)
  assert.is(second, 'model.layers.0.self_attn.qkv_proj.weight would have parts of 24,12,12, but needs 24,8,8')
  const [third] = await problemsOf('gpt_neox_qkv/fused', apart('gpt-neox-qkv'), keep, { ...NEOX, hidden_size: 36 })
  assert.match(third!, /has the size 72, but its parts are 6 times 6 \+ 6 \+ 6$/)
})

test('groups that do not divide a tensor are refused in both directions', async () => {
  const odd = { ...NEOX, num_attention_heads: 5 }
  const [first] = await problemsOf('gpt_neox_qkv/fused', apart('gpt-neox-qkv'), keep, odd)
  assert.match(first!, /has the size 72, which is not divisible into 5 groups$/)
  const [second] = await problemsOf('gpt_neox_qkv/parts', together('gpt-neox-qkv'), keep, odd)
  assert.match(second!, /has the size 72, which is not divisible into 5 groups$/)
  const falcon = { num_attention_heads: 6, num_kv_heads: 8, hidden_size: 24, new_decoder_architecture: true }
  const [third] = await problemsOf('falcon_40b/parts', together('falcon'), keep, falcon)
  assert.match(third!, /would have 8 groups, but a part has the size 12$/)
})

/** What can't be done without a configuration: by family, the setting that is missing. */
const MISSING: Readonly<Record<string, readonly [folder: string, setting: string]>> = {
  bloom: ['bloom', 'num_attention_heads'],
  chatglm: ['chatglm', 'num_attention_heads'],
  codegen: ['codegen', 'num_attention_heads'],
  dbrx: ['dbrx', 'attn_config.kv_n_heads'],
  falcon: ['falcon_7b', 'multi_query'],
  'gpt-bigcode': ['gpt_bigcode', 'multi_query'],
  'gpt-neox-qkv': ['gpt_neox_qkv', 'num_attention_heads'],
  internlm2: ['internlm2', 'num_attention_heads'],
  mpt: ['mpt', 'num_attention_heads'],
  phi3: ['phi3', 'num_attention_heads'],
}

for (const [family, [folder, setting]] of Object.entries(MISSING))
  test(`${family}: without a configuration, the missing setting is named`, async () => {
    const [problem] = await problemsOf(`${folder}/fused`, apart(family), keep)
    assert.match(problem!, new RegExp(` can't be split without ${setting.replace('.', '\\.')} in config\\.json$`))
  })

test('putting parts together needs only the number of groups', async () => {
  for (const name of ['phi3', 'chatglm', 'mpt', 'dbrx', 'codegen'])
    assert.equal(await problemsOf(`${name}/parts`, together(name), keep), [], name)
  const heads = { num_attention_heads: 6 }
  assert.equal(await problemsOf('bloom/parts', together('bloom'), keep, heads), [])
  const falcon = { num_kv_heads: 3, new_decoder_architecture: true }
  assert.equal(await problemsOf('falcon_40b/parts', together('falcon'), keep, falcon), [])
})

test('GPT-2: the shapes of other matrices tell how the square one is stored', async () => {
  const { family } = layoutOf('gpt2/conv1d')
  for (const [side, name] of [['fused', 'conv1d'] as const, ['parts', 'linear'] as const]) {
    const { tensors } = await opened(path.join(fixture('layouts'), 'gpt2_conv1d', side))
    const found = (kept: (name: string) => boolean): unknown => {
      const form = formIn(family, { config: undefined, shapes: new Map([...tensors].filter(([name]) => kept(name))) })
      return typeof form === 'string' ? form : form.name
    }
    assert.is(
      found(() => true),
      name,
    )
    // Without biases, or with only some of the matrices.
    assert.is(
      found((one) => !one.endsWith('.bias')),
      name,
    )
    for (const matrix of ['attn.c_attn', 'mlp.c_fc', 'mlp.c_proj'])
      assert.is(
        found((one) => one.includes(`${matrix}.weight`) || one.includes('attn.c_proj.weight')),
        name,
        matrix,
      )
    assert.is(
      found((one) => one.includes('attn.c_proj')),
      'unknown',
    )
  }
})

test('GPT-2: a model with matrices of both orientations has none', async () => {
  const [conv1d, linear] = await Promise.all(
    ['fused', 'parts'].map((side) => opened(path.join(fixture('layouts'), 'gpt2_conv1d', side))),
  )
  const shapes = new Map(
    [...conv1d!.tensors].map(([name, one]) => [name, name.includes('h.1.') ? linear!.tensors.get(name)! : one]),
  )
  assert.is(formIn(layoutOf('gpt2/linear').family, { config: undefined, shapes }), 'mixed')
})

test.run()
