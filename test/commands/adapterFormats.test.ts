/** Adapters in the format of sd-scripts: names of modules, alpha as tensors, and what such files cannot hold. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { kohyaNames } from '../../src/adapters/kohya/names.js'
import { matrix, stored, writeAdapter } from '../support/adapters.js'
import { f32, inFolder, writeModel } from '../support/files.js'
import { distance, tensorsOf } from '../support/lowRank.js'
import { fixture, terge } from '../support/terge.js'

/** Names that sd-scripts gives to these modules. */
const SD1 = {
  'unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0':
    'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0',
  'unet.mid_block.resnets.1.conv2': 'lora_unet_mid_block_resnets_1_conv2',
  'text_encoder.text_model.encoder.layers.3.self_attn.q_proj': 'lora_te_text_model_encoder_layers_3_self_attn_q_proj',
}
const SDXL = {
  'unet.down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q':
    'lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q',
  'unet.down_blocks.2.attentions.1.proj_in': 'lora_unet_input_blocks_8_1_proj_in',
  'unet.down_blocks.0.resnets.1.conv1': 'lora_unet_input_blocks_2_0_in_layers_2',
  'unet.down_blocks.0.downsamplers.0.conv': 'lora_unet_input_blocks_3_0_op',
  'unet.mid_block.attentions.0.transformer_blocks.9.ff.net.0.proj':
    'lora_unet_middle_block_1_transformer_blocks_9_ff_net_0_proj',
  'unet.mid_block.resnets.1.time_emb_proj': 'lora_unet_middle_block_2_emb_layers_1',
  'unet.up_blocks.0.attentions.2.transformer_blocks.0.attn2.to_k':
    'lora_unet_output_blocks_2_1_transformer_blocks_0_attn2_to_k',
  'unet.up_blocks.1.resnets.0.conv_shortcut': 'lora_unet_output_blocks_3_0_skip_connection',
  'unet.up_blocks.0.upsamplers.0.conv': 'lora_unet_output_blocks_2_2_conv',
  'text_encoder.text_model.encoder.layers.0.mlp.fc1': 'lora_te1_text_model_encoder_layers_0_mlp_fc1',
  'text_encoder_2.text_model.encoder.layers.0.mlp.fc1': 'lora_te2_text_model_encoder_layers_0_mlp_fc1',
}

test('names of modules are those of sd-scripts', () => {
  for (const names of [SD1, SDXL]) assert.equal(Object.fromEntries(kohyaNames(Object.keys(names))), names)
  assert.equal(
    [...kohyaNames(['down_blocks.0.resnets.0.conv1', 'model.layers.0.q_proj']).values()],
    ['lora_unet_down_blocks_0_resnets_0_conv1', undefined],
  )
  assert.equal([...kohyaNames(['double_blocks.0.img_attn.qkv']).values()], ['lora_unet_double_blocks_0_img_attn_qkv'])
})

test('merged and extracted adapters as files of sd-scripts', () =>
  inFolder(async (folder) => {
    const q = 'unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q'
    const conv = 'unet.down_blocks.0.resnets.0.conv1'
    const P = 'base_model.model.'
    for (const [i, name] of ['one', 'two'].entries())
      writeAdapter(
        path.join(folder, name),
        {
          [`${P}${q}.lora_A.weight`]: stored(matrix([2, 6], 4 * i)),
          [`${P}${q}.lora_B.weight`]: stored(matrix([8, 2], 4 * i + 1)),
          [`${P}${conv}.lora_A.weight`]: stored(matrix([2, 3, 3, 3], 4 * i + 2)),
          [`${P}${conv}.lora_B.weight`]: stored(matrix([5, 2, 1, 1], 4 * i + 3)),
        },
        { r: 2, lora_alpha: 3 },
      )
    const run = async (merge: string, output: string) => {
      const models = 'models: {one: one, two: two}'
      writeFileSync(path.join(folder, 'r.yml'), `terge: 1\n${models}\nmerge: {${merge}}\noutput: {path: ${output}}\n`)
      return terge(['run', 'r.yml', '--force'], folder)
    }
    const ran = await run(
      'method: task_arithmetic, weights: [1, -0.5]',
      'k.safetensors, format: kohya, dtype: bfloat16',
    )
    assert.is(ran.code, 0, ran.err)
    assert.not.match(ran.err, 'adapter-config')
    const made = await tensorsOf(path.join(folder, 'k.safetensors'))
    const name = 'lora_unet_down_blocks_0_resnets_0_conv1'
    assert.equal(made.get(`${name}.lora_down.weight`)!.shape, [4, 3, 3, 3])
    assert.equal(made.get(`${name}.lora_up.weight`)!.shape, [5, 4, 1, 1])
    // A scale of 1: alpha is the rank, and is not rounded to the dtype of the factors.
    assert.equal(made.get(`${name}.alpha`), { shape: [], values: Float64Array.of(4) })
    // One adapter, unchanged: the way to convert it.
    const same = await run('method: passthrough, models: [one]', 'same, format: kohya')
    assert.is(same.code, 0, same.err)
    const own = await tensorsOf(path.join(folder, 'same'))
    assert.equal([own.size, [...own.get(`${name}.alpha`)!.values]], [6, [3]])
    assert.equal(own.get(`${name}.lora_up.weight`)!.values, Float64Array.from(matrix([5, 2, 1, 1], 3).values))
    assert.not(existsSync(path.join(folder, 'same/adapter_config.json')))

    const [rows, columns] = [8, 6]
    const [base, tuned] = [matrix([rows, columns], 1), matrix([rows, columns], 2)]
    writeModel(path.join(folder, 'base.safetensors'), { [`${q}.weight`]: stored(base) })
    writeModel(path.join(folder, 'tuned.safetensors'), { [`${q}.weight`]: stored(tuned) })
    const extract = (format: string) =>
      writeFileSync(
        path.join(folder, 'e.yml'),
        `terge: 1\nmodels: {b: base.safetensors, t: tuned.safetensors}\nsteps: {a: {extract: {lora: {from: t, base: b, rank: 6, alpha: 3}}}}\noutput: {path: e.safetensors, from: a, format: ${format}}\n`,
      )
    extract('kohya')
    assert.is((await terge(['run', 'e.yml'], folder)).code, 0)
    const found = await tensorsOf(path.join(folder, 'e.safetensors'))
    const [key] = [...found.keys()].map((one) => one.split('.')[0]!)
    const [up, down] = [found.get(`${key}.lora_up.weight`)!.values, found.get(`${key}.lora_down.weight`)!.values]
    const scale = found.get(`${key}.alpha`)!.values[0]! / 6
    const change = Float64Array.from({ length: rows * columns }, (_, at) => {
      const [i, j] = [Math.floor(at / columns), at % columns]
      return scale * [0, 1, 2, 3, 4, 5].reduce((sum, k) => sum + up[i * 6 + k]! * down[k * columns + j]!, 0)
    })
    assert.ok(
      distance(
        change,
        tuned.values.map((x, i) => x - base.values[i]!),
      ) < 1e-6,
    )
    assert.is((await terge(['verify', 'e.lineage.json', '--reproduce'], folder)).code, 0)
  }))

test('files of sd-scripts are merged with each other, with alpha or without', () =>
  inFolder(async (folder) => {
    const from = fixture('merged-adapters/merge-linear-kohya')
    const { weights } = JSON.parse(readFileSync(path.join(from, 'merge.json'), 'utf8')) as { weights: number[] }
    const files = ['a0', 'a1'].map((name) => path.join(from, name, 'kohya.safetensors'))
    const run = async (merge: object, output: object = {}) => {
      writeFileSync(
        path.join(folder, 'r.yml'),
        JSON.stringify({
          terge: 1,
          models: { a: files[0], b: files[1] },
          merge,
          output: { path: 'k.safetensors', ...output },
        }),
      )
      return terge(['run', 'r.yml', '--force'], folder)
    }
    const ran = await run({ method: 'linear', weights, parameters: { normalize: false } })
    assert.is(ran.code, 0, ran.err)
    const made = await tensorsOf(path.join(folder, 'k.safetensors'))
    for (const [module, { values }] of await tensorsOf(path.join(from, 'changes.safetensors'))) {
      const [up, down] = ['up', 'down'].map((side) => made.get(`${module}.lora_${side}.weight`)!)
      const [rank, rows] = [down!.shape[0]!, up!.shape[0]!]
      const columns = down!.values.length / rank
      const change = Float64Array.from({ length: rows * columns }, (_, at) => {
        const [i, j] = [Math.floor(at / columns), at % columns]
        let sum = 0
        for (let k = 0; k < rank; k++) sum += up!.values[i * rank + k]! * down!.values[k * columns + j]!
        return (sum * made.get(`${module}.alpha`)!.values[0]!) / rank
      })
      assert.ok(distance(change, values) < 1e-7, module)
    }
    assert.is((await terge(['verify', 'k.lineage.json', '--reproduce'], folder)).code, 0)
    // Methods on task vectors need no base here either.
    const ties = await run({ method: 'ties', parameters: { density: 0.5 }, rank: 2 })
    assert.is(ties.code, 0, ties.err)
    const same = await run({ method: 'linear', weights: [1, 0] })
    assert.is(same.code, 0, same.err)
    assert.equal(await tensorsOf(path.join(folder, 'k.safetensors')), await tensorsOf(files[0]!))
    const peft = await run({ method: 'linear' }, { format: 'peft' })
    assert.match(peft.err, 'error adapter-format: the names of merge are those of sd-scripts, in which dots are lost')
  }))

test('an adapter of PEFT and one of sd-scripts in one merge: the names of the first are those of the second', () =>
  inFolder(async (folder) => {
    const P = 'base_model.model.'
    // In the U-Net of SDXL, only the second adapter shows whose names these are.
    const modules = ['unet.down_blocks.1.attentions.0.proj_in', 'text_encoder.text_model.encoder.layers.0.mlp.fc1']
    const kohya = ['lora_unet_input_blocks_4_1_proj_in', 'lora_te1_text_model_encoder_layers_0_mlp_fc1']
    const [down, up] = [matrix([2, 6], 1), matrix([8, 2], 2)]
    const factors = (name: string, of: readonly [string, string]) => ({
      [`${name}.${of[0]}.weight`]: stored(down),
      [`${name}.${of[1]}.weight`]: stored(up),
    })
    const peft = Object.assign({}, ...modules.map((name) => factors(`${P}${name}`, ['lora_A', 'lora_B'])))
    writeAdapter(path.join(folder, 'peft'), peft, { r: 2, lora_alpha: 3 })
    const file = Object.assign({}, ...kohya.map((name) => factors(name, ['lora_down', 'lora_up'])))
    writeModel(path.join(folder, 'k.safetensors'), file)
    const run = async (models: string, more = '') => {
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {${models}}\nmerge: {method: linear, rank: full, weights: [0.5, 0.25]}\noutput: {path: o.safetensors${more}}\n`,
      )
      return terge(['run', 'r.yml', '--force'], folder)
    }
    for (const models of ['a: peft, b: k.safetensors', 'b: k.safetensors, a: peft']) {
      const ran = await run(models)
      assert.is(ran.code, 0, ran.err)
      const made = await tensorsOf(path.join(folder, 'o.safetensors'))
      assert.equal(
        [...made.keys()].sort(),
        kohya
          .flatMap((name) => ['alpha', 'lora_down.weight', 'lora_up.weight'].map((part) => `${name}.${part}`))
          .sort(),
      )
      const [a, b] = models.startsWith('a') ? [2 / 3, 1 / 3] : [1 / 3, 2 / 3]
      for (const name of kohya) {
        const [rows, columns, rank] = [8, 6, 4]
        const [own, other] = ['up', 'down'].map((side) => made.get(`${name}.lora_${side}.weight`)!)
        const alpha = made.get(`${name}.alpha`)!.values[0]!
        const product = (left: ArrayLike<number>, right: ArrayLike<number>, rank: number, scale: number) =>
          Float64Array.from({ length: rows * columns }, (_, at) => {
            const [i, j] = [Math.floor(at / columns), at % columns]
            let sum = 0
            for (let k = 0; k < rank; k++) sum += left[i * rank + k]! * right[k * columns + j]!
            return sum * scale
          })
        const wanted = product(up.values, down.values, 2, a! * 1.5 + b!)
        assert.ok(distance(product(own!.values, other!.values, rank, alpha / rank), wanted) < 1e-6, name)
      }
    }
    const names = await run('a: peft, b: k.safetensors', ', format: peft')
    assert.match(names.err, 'error adapter-format: the names of merge are those of sd-scripts, in which dots are lost')
    writeAdapter(path.join(folder, 'llm'), factors(`${P}model.layers.0.q_proj`, ['lora_A', 'lora_B']), { r: 2 })
    const llm = await run('a: llm, b: k.safetensors')
    assert.match(
      llm.err,
      "error adapter-format: 'a' is in the format of PEFT and 'b' in that of kohya, which name modules differently: sd-scripts has no name for 1 module of it, such as model.layers.0.q_proj",
    )
  }))

test('what files of sd-scripts cannot hold is refused', () =>
  inFolder(async (folder) => {
    const P = 'base_model.model.'
    const factors = (module: string) => ({
      [`${P}${module}.lora_A.weight`]: stored(matrix([2, 6], 1)),
      [`${P}${module}.lora_B.weight`]: stored(matrix([8, 2], 2)),
    })
    const q = 'unet.mid_block.attentions.0.proj_in'
    writeAdapter(path.join(folder, 'llm'), factors('model.layers.0.self_attn.q_proj'), { r: 2, lora_alpha: 2 })
    writeAdapter(
      path.join(folder, 'bias'),
      { ...factors(q), [`${P}${q}.lora_B.bias`]: f32([8], [1, 2, 3, 4, 5, 6, 7, 8]) },
      { r: 2, lora_alpha: 2, lora_bias: true },
    )
    const told = async (model: string, from = '') => {
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {a: ${model}, b: ${model}}\nmerge: {method: linear}\noutput: {path: k.safetensors, format: kohya${from}}\n`,
      )
      return (await terge(['validate', 'r.yml'], folder)).err
    }
    assert.match(
      await told('llm'),
      'error adapter-format: sd-scripts has no name for 1 module of the adapter, such as model.layers.0.self_attn.q_proj',
    )
    assert.match(
      await told('bias'),
      /error adapter-format: the adapter has 1 tensor that is not a factor, such as .*lora_B\.bias/,
    )
    assert.match(
      await told('llm', ', from: a'),
      'error adapter-format: a is not a merge of adapters or an extraction with plain factors',
    )
  }))

test.run()
