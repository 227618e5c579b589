/** Square layers that some networks store [in, out]: what PEFT decides by a layer's class is decided by names, biases and neighbours. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { matrix, stored } from '../support/adapters.js'
import type { RawTensor } from '../support/files.js'
import { applied, close, factors, isResult, updatedBy } from '../support/peft.js'

const [H, V] = [8, 12]
const weight = (shape: readonly number[], seed: number) => matrix(shape, seed)
const tensor = (shape: readonly number[], seed: number): RawTensor => stored(weight(shape, seed))

interface Layer {
  readonly shape: readonly [number, number]
  readonly bias?: number
  /** Whether the right result is that of a layer stored [in, out]; absent: not adapted. */
  readonly turned?: boolean
}

/** Adapts the layers and compares each; codes of errors where it is refused. */
async function check(
  layers: Readonly<Record<string, Layer>>,
  config: object,
  flag: boolean,
): Promise<readonly string[]> {
  const base: Record<string, RawTensor> = {}
  const adapter: Record<string, RawTensor> = {}
  const wanted = new Map<string, Float64Array>()
  let seed = 1
  for (const [module, { shape, bias, turned }] of Object.entries(layers)) {
    const own = weight(shape, seed++)
    base[`${module}.weight`] = stored(own)
    if (bias !== undefined) base[`${module}.bias`] = tensor([bias], seed++)
    if (turned === undefined) continue
    const made = factors(module, turned ? [shape[1], shape[0]] : shape, seed + 2)
    seed += 4
    Object.assign(adapter, made.tensors)
    wanted.set(`${module}.weight`, updatedBy(own, made, turned))
  }
  const result = await applied(
    { tensors: base, config: { ...config } },
    { tensors: adapter, config: { fan_in_fan_out: flag } },
  )
  if ('refused' in result) return result.refused.map((text) => text.split(':')[0]!)
  isResult(result)
  for (const [name, values] of wanted) assert.ok(close(result.tensors.get(name)?.values, values), name)
  return []
}

const A = 'transformer.h.0.attn.'
const M = 'transformer.h.0.mlp.'
const gpt2 = {
  [`${A}c_attn`]: { shape: [H, 3 * H], bias: 3 * H, turned: true },
  [`${A}c_proj`]: { shape: [H, H], bias: H, turned: true },
} as const

test('GPT-2: the flag describes only the last layer', async () => {
  const untied = { model_type: 'gpt2', tie_word_embeddings: false }
  for (const flag of [true, false]) {
    const head = { lm_head: { shape: [V, H], turned: false } } as const
    assert.equal(await check({ ...gpt2, ...head }, untied, flag), [], `${flag}`)
    assert.equal(await check({ ...gpt2, lm_head: { shape: [H, H], turned: false } }, untied, flag), [], `${flag}`)
    // The biases of neighbours say it too, and an adapter's own factors where no layer has a bias.
    assert.equal(await check(gpt2, {}, flag), [])
    const bare = {
      [`${A}c_attn`]: { shape: [H, 3 * H], turned: true },
      [`${A}c_proj`]: { shape: [H, H], turned: true },
    } as const
    assert.equal(await check(bare, {}, flag), [])
    assert.equal(await check({ [`${A}c_proj`]: { shape: [H, H], turned: true } }, { model_type: 'gpt2' }, flag), [])
  }
})

test('two towers can have different orientations', async () => {
  const layers = {
    'encoder.layer.0.attention.query': { shape: [H, H], bias: H, turned: false },
    'decoder.h.0.attn.c_attn': { shape: [H, 3 * H], bias: 3 * H, turned: true },
    'decoder.h.0.attn.c_proj': { shape: [H, H], bias: H, turned: true },
    'decoder.h.0.crossattention.q_attn': { shape: [H, H], bias: H, turned: true },
  } as const
  for (const flag of [true, false])
    assert.equal(await check(layers, { model_type: 'vision-encoder-decoder' }, flag), [])
  // Both have layers of the same names: CLIP's are linear, those of GPT-2 are not.
  const both = {
    'visual.blocks.0.mlp.c_fc': { shape: [4 * H, H], bias: 4 * H, turned: false },
    'visual.blocks.0.mlp.c_proj': { shape: [H, H], bias: H, turned: false },
    ...gpt2,
  } as const
  for (const flag of [true, false]) assert.equal(await check(both, {}, flag), [])
  const parts = { encoder: { model_type: 'vit' }, decoder: { model_type: 'gpt2' } }
  const square = {
    'encoder.layer.0.attention.query': { shape: [H, H], turned: false },
    'decoder.h.0.attn.c_proj': { shape: [H, H], turned: true },
  } as const
  for (const flag of [true, false])
    assert.equal(await check(square, { model_type: 'vision-encoder-decoder', ...parts }, flag), [])
})

test('GPT-BigCode has linear layers with the same names', async () => {
  const layers = {
    [`${A}c_attn`]: { shape: [3 * H, H], bias: 3 * H, turned: false },
    [`${A}c_proj`]: { shape: [H, H], bias: H, turned: false },
    [`${M}c_fc`]: { shape: [4 * H, H], bias: 4 * H, turned: false },
  } as const
  for (const flag of [true, false]) {
    assert.equal(await check(layers, { model_type: 'gpt_bigcode' }, flag), [])
    assert.equal(await check(layers, {}, flag), [])
    assert.equal(
      await check({ [`${A}c_proj`]: { shape: [H, H], turned: false } }, { model_type: 'gpt_bigcode' }, flag),
      [],
    )
  }
})

test('the architecture overrides the flag: its layers are linear, whatever their names', async () => {
  const q = 'model.layers.0.self_attn.q_proj'
  for (const [type, module] of [
    ...['llama', 'mistral', 'qwen2', 'qwen3_moe', 'gemma3_text', 'deepseek_v3'].map((type) => [type, q]),
    ['phi3', 'model.layers.0.self_attn.o_proj'],
    ['gpt_neo', 'transformer.h.0.mlp.c_fc'],
    ['gpt_neo', 'transformer.h.0.attn.attention.out_proj'],
    ['starcoder2', 'model.layers.0.mlp.c_proj'],
    ['clip', 'text_model.encoder.layers.0.self_attn.q_proj'],
    ['whisper', 'model.decoder.layers.0.fc1'],
  ] as const)
    for (const flag of [true, false])
      assert.equal(await check({ [module!]: { shape: [H, H], turned: false } }, { model_type: type }, flag), [], type)
})

test('contradictions, and a flag without evidence, are errors', async () => {
  const other = ['adapter-orientation']
  const converted = { ...gpt2, [`${A}c_attn`]: { shape: [3 * H, H], bias: 3 * H, turned: false } } as const
  assert.equal(await check(converted, { model_type: 'gpt2' }, true), other)
  const square = { 'net.0.mix': { shape: [H, H], turned: false } } as const
  assert.equal(await check(square, {}, true), other)
  assert.equal(await check(square, {}, false), [])
  const mixed = {
    [`${A}c_proj`]: { shape: [H, H], turned: true },
    'net.0.mix': { shape: [V, H], turned: false },
  } as const
  assert.equal(await check(mixed, {}, false), other)
  assert.equal(await check(mixed, {}, true), [])
  // Neighbours of the same name explain it.
  const own = {
    'net.0.mix': { shape: [H, V], bias: V, turned: true },
    'net.1.mix': { shape: [H, H], turned: true },
  } as const
  for (const flag of [true, false]) assert.equal(await check(own, {}, flag), [])
})

test.run()
