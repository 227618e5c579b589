/** Configurations of models whose other layout is another architecture: rewritten, or refused with the reason. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Settings } from '../../src/layouts/types.js'
import { layoutOf } from '../support/layouts.js'
import { fixture } from '../support/terge.js'

const configOf = (name: string): Settings =>
  JSON.parse(readFileSync(path.join(fixture('layouts'), name, 'config.json'), 'utf8')) as Settings

/** The configuration of a model in this layout. */
const as = (layout: string, config: Settings): Settings | string => {
  const write = layoutOf(layout).form.config
  if (!write) throw new Error(`${layout} does not write a configuration`)
  return write(config)
}

/** The settings that the architecture of each layout reads, as their libraries wrote them. */
const WRITTEN: readonly { name: string; from: string; to: string; settings: Settings; absent: readonly string[] }[] = [
  {
    name: 'phi3',
    from: 'phi3/fused',
    to: 'phi3/parts',
    settings: {
      ...{ model_type: 'llama', architectures: ['LlamaForCausalLM'], attention_bias: false, mlp_bias: false },
      ...{ num_key_value_heads: 3, rms_norm_eps: 1e-5, rope_parameters: { rope_theta: 10000, rope_type: 'default' } },
    },
    absent: ['sliding_window', 'resid_pdrop', 'original_max_position_embeddings'],
  },
  {
    name: 'qwen',
    from: 'qwen/fused',
    to: 'qwen/parts',
    settings: {
      ...{ model_type: 'qwen2', architectures: ['Qwen2ForCausalLM'], intermediate_size: 10, num_key_value_heads: 6 },
      ...{ rms_norm_eps: 1e-6, rope_theta: 10000, max_position_embeddings: 64, hidden_act: 'silu' },
    },
    absent: ['seq_length', 'rotary_emb_base', 'auto_map', 'kv_channels'],
  },
  {
    name: 'internlm2',
    from: 'internlm2/fused',
    to: 'internlm2/parts',
    settings: {
      ...{ model_type: 'llama', architectures: ['LlamaForCausalLM'], attention_bias: false, rope_theta: 10000 },
      ...{ num_key_value_heads: 3, rope_scaling: { factor: 2, type: 'dynamic' } },
    },
    absent: ['bias', 'auto_map'],
  },
  {
    name: 'baichuan',
    from: 'baichuan/fused',
    to: 'baichuan/parts',
    settings: { model_type: 'llama', architectures: ['LlamaForCausalLM'], max_position_embeddings: 64 },
    absent: ['auto_map'],
  },
  {
    name: 'codegen',
    from: 'codegen/fused',
    to: 'codegen/parts',
    settings: { model_type: 'gptj', architectures: ['GPTJForCausalLM'], n_head: 4, rotary_dim: 4 },
    absent: ['n_ctx'],
  },
]

/** Settings that no other architecture has and that do not change what a model computes. */
const LOST = new Set([
  ...['attn_implementation', 'bf16', 'fp16', 'fp32', 'emb_dropout_prob', 'max_position_embeddings', 'onnx_safe'],
  ...['scale_attn_weights', 'tokenizer_class', 'use_dynamic_ntk', 'use_flash_attn', 'use_logn_attn'],
  ...['embd_pdrop', 'resid_pdrop', 'pad_token_id', 'rope_parameters'],
])

for (const { name, from, to, settings, absent } of WRITTEN)
  test(`${to} has the configuration of ${settings.model_type}, and ${from} its own`, () => {
    const own = configOf(`${name}/fused`)
    const written = as(to, own) as Settings
    for (const [key, value] of Object.entries(settings)) assert.equal(written[key], value, key)
    for (const key of absent) assert.not.ok(key in written, key)
    assert.equal(as(to, written), written, 'nothing changes twice')
    const back = as(from, written) as Settings
    for (const [key, value] of Object.entries(own)) if (!LOST.has(key)) assert.equal(back[key], value, key)
  })

test('a configuration of the code of ChatGLM becomes that of transformers, and back', () => {
  const own: Settings = {
    ...{ model_type: 'chatglm', architectures: ['ChatGLMModel'], add_qkv_bias: true, multi_query_attention: true },
    ...{ ffn_hidden_size: 10, hidden_size: 24, kv_channels: 4, layernorm_epsilon: 1e-5, multi_query_group_num: 2 },
    ...{ num_attention_heads: 6, num_layers: 1, padded_vocab_size: 20, rope_ratio: 500, seq_length: 64 },
  }
  const written = as('chatglm/parts', own) as Settings
  const wanted = {
    ...{ model_type: 'glm', architectures: ['GlmForCausalLM'], attention_bias: true, intermediate_size: 10 },
    ...{ head_dim: 4, rms_norm_eps: 1e-5, num_key_value_heads: 2, num_hidden_layers: 1, vocab_size: 20 },
    ...{ rope_theta: 5e6, partial_rotary_factor: 0.5, max_position_embeddings: 64, hidden_act: 'silu' },
  }
  for (const [key, value] of Object.entries(wanted)) assert.equal(written[key as keyof Settings], value, key)
  const back = as('chatglm/fused', written) as Settings
  for (const [key, value] of Object.entries(own)) if (key !== 'architectures') assert.equal(back[key], value, key)
})

test('encoders without their prefix have no head', () => {
  const bert = { model_type: 'bert', architectures: ['BertForMaskedLM'] }
  assert.equal(as('bert/plain', bert), { ...bert, architectures: ['BertModel'] })
  const text = { model_type: 'clip_text_model', architectures: ['CLIPTextModelWithProjection'] }
  assert.equal(as('clip-text/plain', text), { ...text, architectures: ['CLIPTextModel'] })
})

const phi3 = { model_type: 'phi3', max_position_embeddings: 4096 }
const llama = { model_type: 'llama', num_attention_heads: 32, hidden_size: 4096 }

/** A layout, a configuration that it can't express, and a part of the reason. */
const REFUSED: readonly (readonly [layout: string, config: Settings, reason: RegExp])[] = [
  ['phi3/parts', { ...phi3, rope_scaling: { type: 'longrope', short_factor: [1] } }, /type "longrope"/],
  ['phi3/parts', { ...phi3, partial_rotary_factor: 0.75 }, /partial_rotary_factor/],
  ['phi3/parts', { ...phi3, rope_parameters: { partial_rotary_factor: 0.75 } }, /partial_rotary_factor/],
  ['phi3/parts', { ...phi3, sliding_window: 2047 }, /sliding_window is 2047/],
  ['phi3/parts', { ...phi3, architectures: ['Phi3VForCausalLM'] }, /no counterpart of "Phi3VForCausalLM"/],
  ['phi3/parts', { model_type: 'phi3_v' }, /model_type is "phi3_v"/],
  ['phi3/parts', {}, /model_type is undefined/],
  ['phi3/fused', { ...llama, attention_bias: true }, /no biases/],
  ['phi3/fused', { ...llama, rope_scaling: { rope_type: 'llama3', factor: 8 } }, /type "llama3"/],
  ['phi3/fused', { model_type: 'gemma' }, /model_type is "gemma"/],
  ['baichuan/parts', { model_type: 'baichuan' }, /ALiBi/],
  ['baichuan/parts', { model_type: 'baichuan', max_position_embeddings: 4096, z_loss_weight: 0 }, /Baichuan 2/],
  ['baichuan/fused', { ...llama, num_key_value_heads: 8 }, /one key and value per head/],
  ['baichuan/fused', { ...llama, rope_theta: 500000 }, /theta 10000/],
  ['internlm2/fused', { ...llama, head_dim: 64 }, /as wide as the network/],
  ['internlm2/fused', { ...llama, mlp_bias: true }, /no biases/],
  ['internlm2/fused', { ...llama, rope_parameters: { rope_type: 'yarn' } }, /type "yarn"/],
  ['qwen/parts', { model_type: 'qwen', visual: {} }, /Qwen-VL/],
  ['qwen/parts', { model_type: 'qwen', no_bias: false }, /no biases/],
  ['qwen/fused', { ...llama, model_type: 'qwen2', num_key_value_heads: 8 }, /one key and value per head/],
  ['qwen/fused', { ...llama, model_type: 'qwen2', use_sliding_window: true }, /sliding window/],
  ['chatglm/parts', { model_type: 'chatglm', num_layers: 28 }, /first generation/],
  ['chatglm/parts', { model_type: 'chatglm', padded_vocab_size: 65024, rope_ratio: 50 }, /rope_ratio/],
  ['chatglm/fused', { model_type: 'glm', partial_rotary_factor: 1 }, /half of each head/],
  ['codegen/fused', { model_type: 'gptj', n_head: 6 }, /divisible by 4/],
  ['bert/plain', { model_type: 'bert', architectures: ['BertForLayout'] }, /needs the prefix bert/],
  ['clip-text/plain', { model_type: 'clip', text_config: { model_type: 'clip_text_model' } }, /other parts/],
]

for (const [layout, config, reason] of REFUSED)
  test(`${layout} can't be written: ${reason.source}`, () => {
    assert.match(as(layout, config) as string, reason)
  })

test.run()
