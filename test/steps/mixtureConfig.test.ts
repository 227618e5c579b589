/** What the configuration of a base says to its class is what that of the mixture says to its own. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan, run } from '../../src/index.js'
import { otherMlps } from '../../src/steps/moe/base.js'
import { stated, windowsOf } from '../../src/steps/moe/stated.js'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'

const model = { hidden_size: 24, num_attention_heads: 4, num_key_value_heads: 2, rope_theta: 500 }
const said = (config: object) => stated({ ...model, ...config }, { tensors: new Map() })

test('rotary positions are written for both generations of transformers', () => {
  const linear = { rope_type: 'linear', factor: 3 }
  const cases: [config: object, theta: number, scaling?: object][] = [
    [{ model_type: 'llama' }, 500],
    [{ model_type: 'llama', rope_theta: undefined }, 10000],
    [{ model_type: 'mixtral', rope_theta: undefined }, 1e6],
    [{ model_type: 'llama', rope_theta: undefined, rope_scaling: { type: 'linear', factor: 2 } }, 10000],
    [{ model_type: 'qwen3', rope_parameters: { rope_type: 'default', rope_theta: 77 } }, 77],
    // Without a base of its own, it has the default of its class, and Mixtral would have another.
    [{ model_type: 'llama', rope_theta: undefined, rope_parameters: linear }, 10000, { type: 'linear', ...linear }],
    [{ model_type: 'llama', rope_parameters: { ...linear, rope_theta: 9 } }, 9, { type: 'linear', ...linear }],
  ]
  for (const [config, theta, scaling] of cases) {
    const { rope_theta: found, rope_scaling: scaled } = said(config)
    assert.is(found, theta, JSON.stringify(config))
    assert.equal(scaled, scaling, JSON.stringify(config))
  }
})

test('null is not written where classes of mixtures would compute with it', () => {
  const { num_key_value_heads, head_dim } = said({ model_type: 'llama', num_key_value_heads: null, head_dim: null })
  assert.equal([num_key_value_heads, head_dim], [4, 6])
  assert.is(said({ model_type: 'qwen3' }).head_dim, 128)
  const tokens = (model_type: string, more = {}) => {
    const { bos_token_id, eos_token_id } = said({ model_type, ...more })
    return [bos_token_id, eos_token_id]
  }
  assert.equal(tokens('llama'), [1, 2])
  assert.equal(tokens('qwen2'), [undefined, undefined])
  assert.equal(tokens('mistral', { bos_token_id: null, eos_token_id: 7 }), [undefined, undefined])
})

test('windows are found where the class of the base has them', () => {
  const found = (config: object, layers = [0, 1, 2]) => windowsOf({ max_position_embeddings: 64, ...config }, layers)
  const sliding = { use_sliding_window: true, sliding_window: 4 }
  assert.equal(found({ model_type: 'mistral', sliding_window: 4 }), { size: 4, layers: 'all' })
  assert.equal(windowsOf({ model_type: 'mistral' }, [0, 1, 2]), { size: 4096, layers: 'all' })
  assert.is(found({ model_type: 'mistral', sliding_window: null }), undefined)
  assert.is(found({ model_type: 'mistral', sliding_window: 64 }), undefined)
  assert.is(found({ model_type: 'llama', sliding_window: 4 }), undefined)
  assert.is(found({ model_type: 'qwen2', sliding_window: 4 }), undefined)
  assert.is(found({ model_type: 'qwen2', ...sliding }), undefined)
  assert.equal(found({ model_type: 'qwen2', ...sliding, max_window_layers: 1 }), { size: 4, layers: 'some' })
  assert.equal(found({ model_type: 'qwen3', ...sliding, max_window_layers: 0 }), { size: 4, layers: 'all' })
  // Of a stack, only the layers that it has count.
  assert.is(found({ model_type: 'qwen2', ...sliding, max_window_layers: 1 }, [0, 0]), undefined)
  assert.equal(found({ model_type: 'qwen3', ...sliding, max_window_layers: 1 }, [2, 1])!.layers, 'all')
  const layer_types = ['full_attention', 'sliding_attention', 'full_attention']
  assert.equal(found({ model_type: 'qwen3', ...sliding, layer_types }), { size: 4, layers: 'some' })
})

const fixture = (name: string): string => path.resolve('test/fixtures/moe/in', name)

/** A mixture of a base with another configuration: its configuration, and the codes and messages of the plan. */
async function mixed(kind: string, change: object, moe: object = {}, steps: object = {}) {
  return inFolder(async (folder) => {
    const base = path.join(folder, 'base')
    cpSync(fixture(`${kind}-base`), base, { recursive: true })
    const config = JSON.parse(readFileSync(path.join(base, 'config.json'), 'utf8'))
    writeFileSync(path.join(base, 'config.json'), JSON.stringify({ ...config, ...change }))
    const recipe = {
      terge: 1,
      models: { base, a: fixture(`${kind}-a`), b: fixture(`${kind}-b`) },
      steps: {
        ...steps,
        mix: { moe: { base: 'base', gate: 'random', experts: [{ model: 'a' }, { model: 'b' }], ...moe } },
      },
      output: path.join(folder, 'out'),
    }
    const planned = await plan(recipe)
    await run(planned)
    return {
      config: JSON.parse(readFileSync(path.join(folder, 'out/config.json'), 'utf8')),
      warnings: planned.diagnostics.map(({ code, message }) => `${code}: ${message}`),
    }
  })
}
const refused = async (...args: Parameters<typeof mixed>): Promise<string> => {
  try {
    await mixed(...args)
  } catch (error) {
    return (error as Error).message
  }
  return ''
}

test('windows that the mixture does not have are reported, and those of all layers of Qwen3 stay', async () => {
  const sliding = { use_sliding_window: true, sliding_window: 4, max_window_layers: 1 }
  const mistral = await mixed('llama', { model_type: 'mistral', sliding_window: 4 })
  assert.is(mistral.config.sliding_window, null)
  assert.match(mistral.warnings.join(), /lost-windows: the layers of .base. see 4 tokens back/)
  const some = await mixed('qwen3', { ...sliding, layer_types: ['full_attention', 'sliding_attention'] })
  assert.equal([some.config.use_sliding_window, some.config.layer_types], [false, ['full_attention', 'full_attention']])
  assert.match(some.warnings.join(), /lost-windows: some layers/)
  const all = await mixed('qwen3', { ...sliding, max_window_layers: 0 })
  assert.equal([all.config.use_sliding_window, all.config.sliding_window], [true, 4])
  assert.not.match(all.warnings.join(), /lost-windows/)
})

test('a base that is made by a step has the configuration of that step', async () => {
  const mixture = { moe: { base: 'base', gate: 'random', experts: [{ model: 'a' }, { model: 'b' }] } }
  const dense = { moe: { dense: { model: 'x' } } }
  const { config } = await mixed('llama', {}, { base: 'y' }, { x: mixture, y: dense })
  assert.equal([config.model_type, config.num_local_experts, config.num_experts_per_tok], ['mixtral', 2, 2])
  assert.match(await refused('llama', {}, { base: 'x' }, { x: mixture }), /'x' is a Mixtral model, which has experts/)
})

test('a mixture of a quantized base is written as numbers, as its configuration does not know routers', () =>
  inFolder(async (folder) => {
    const [base, fp8, out] = ['base', 'fp8', 'out'].map((name) => path.join(folder, name)) as [string, string, string]
    const matrix = f32([128, 128], numbers(128 * 128, 1))
    const parts = [
      'mlp.gate_proj',
      'mlp.up_proj',
      'mlp.down_proj',
      ...['q', 'k', 'v', 'o'].map((x) => `self_attn.${x}_proj`),
    ]
    mkdirSync(base)
    writeModel(path.join(base, 'model.safetensors'), {
      ...Object.fromEntries(parts.map((part) => [`model.layers.0.${part}.weight`, matrix])),
      ...{ 'model.embed_tokens.weight': matrix, 'lm_head.weight': matrix },
    })
    const config = { model_type: 'llama', hidden_size: 128, num_attention_heads: 4, num_hidden_layers: 1 }
    writeFileSync(path.join(base, 'config.json'), JSON.stringify(config))
    const models = { base }
    await run(await plan({ terge: 1, models, output: { path: fp8, from: 'base', quantize: 'fp8-channel' } }))
    const quantizationOf = (model: string) =>
      JSON.parse(readFileSync(path.join(model, 'config.json'), 'utf8')).quantization_config
    assert.ok(quantizationOf(fp8))
    const steps = { mix: { moe: { upcycle: { model: 'base', copies: 2 } } } }
    await run(await plan({ terge: 1, models: { base: fp8 }, steps, output: out }))
    assert.is(quantizationOf(out), undefined)
    assert.not.match(readFileSync(path.join(out, 'model.safetensors'), 'latin1'), /F8_E4M3/)
  }))

test('MLPs of other networks under the same names are no experts', () => {
  const llama = { model_type: 'llama' }
  for (const model_type of ['mistral', 'qwen3', undefined]) assert.is(otherMlps(llama, { model_type }), undefined)
  assert.is(otherMlps(llama, undefined), undefined)
  // Granite multiplies what they add, Gemma has another activation.
  assert.match(otherMlps(llama, { model_type: 'granite' })!, /^is a granite model/)
  assert.match(otherMlps({ ...llama, hidden_act: 'gelu' }, llama)!, /^has the activation silu/)
})

test('bases that do not fit their configuration or the mixture are refused', async () => {
  assert.match(await refused('llama', { num_hidden_layers: 3 }), /2 layers, but its configuration says 3/)
  const huge = { experts: [{ model: 'a', residual_scale: 1e39 }, { model: 'b' }] }
  assert.match(await refused('llama', {}, huge), /beyond the range of float32/)
  assert.match(await refused('llama', { head_dim: 4 }, { architecture: 'deepseek' }), /heads of the width 8/)
  assert.match(await refused('llama', { hidden_act: 'gelu' }), /activation silu, but the base has gelu/)
  assert.match(await refused('llama', { hidden_act: undefined, hidden_activation: 'gelu' }), /activation silu/)
})

test.run()
