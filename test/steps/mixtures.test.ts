/** Mixtures that are put together, made dense and chained: values follow from the numbers that the models are written with. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Lineage, plan, planGraph, run, stepLine, stepNotes, validate } from '../../src/index.js'
import { bf16, f32, f32Of, inFolder, numbers, type RawTensor, random, tensorsOf, writeModel } from '../support/files.js'

const [HIDDEN, WIDTH, LAYERS] = [4, 6, 2]
type Tensors = Record<string, RawTensor>
type Form = (shape: readonly number[], seed: number) => RawTensor
type Config = Readonly<Record<string, unknown>>

const half: Form = (shape, seed) =>
  bf16(
    shape,
    numbers(
      shape.reduce((all, size) => all * size, 1),
      seed,
    ),
  )

const PARTS = ['gate_proj', 'up_proj', 'down_proj']
const shapeOf = (part: string, width = WIDTH): number[] => (part === 'down_proj' ? [HIDDEN, width] : [width, HIDDEN])

/** Everything but the MLPs. `biases`: those of q, k and v. */
const rest = (form: Form, seed: number, biases = false): Tensors => ({
  'model.embed_tokens.weight': form([8, HIDDEN], seed),
  'lm_head.weight': form([8, HIDDEN], seed + 1),
  ...Object.fromEntries(
    Array.from({ length: LAYERS }, (_, layer) =>
      ['q', 'k', 'v'].flatMap((part, at) => [
        [`model.layers.${layer}.self_attn.${part}_proj.weight`, form([HIDDEN, HIDDEN], seed + 10 * layer + at + 2)],
        ...(biases ? [[`model.layers.${layer}.self_attn.${part}_proj.bias`, form([HIDDEN], seed + at)]] : []),
      ]),
    ).flat(),
  ),
})

const dense = (form: Form, seed: number): Tensors => ({
  ...rest(form, seed),
  ...Object.fromEntries(
    Array.from({ length: LAYERS }, (_, layer) =>
      PARTS.map((part, at) => [
        `model.layers.${layer}.mlp.${part}.weight`,
        form(shapeOf(part), seed + 50 + 3 * layer + at),
      ]),
    ).flat(),
  ),
})

/** Expert E of layer L has the numbers of seed `seed + 100 + 10 E + 50 L + part`. */
function mixture(kind: 'mixtral' | 'qwen', experts: number, form: Form, seed: number, shared?: number): Tensors {
  const names = kind === 'mixtral' ? ['w1', 'w3', 'w2'] : PARTS
  const tensors = rest(form, seed, shared !== undefined)
  for (let layer = 0; layer < LAYERS; layer++) {
    const block = `model.layers.${layer}.${kind === 'mixtral' ? 'block_sparse_moe' : 'mlp'}`
    tensors[`${block}.gate.weight`] = form([experts, HIDDEN], seed + 90 + layer)
    for (let expert = 0; expert < experts; expert++)
      for (const [at, part] of PARTS.entries())
        tensors[`${block}.experts.${expert}.${names[at]}.weight`] = form(
          shapeOf(part),
          seed + 100 + 10 * expert + 50 * layer + at,
        )
    if (shared === undefined) continue
    tensors[`${block}.shared_expert_gate.weight`] = form([1, HIDDEN], seed + 95)
    for (const [at, part] of PARTS.entries())
      tensors[`${block}.shared_expert.${part}.weight`] = form(shapeOf(part, shared), seed + 96 + at)
  }
  return tensors
}

const COMMON = {
  ...{ hidden_size: HIDDEN, num_attention_heads: 1, num_key_value_heads: 1, num_hidden_layers: LAYERS, vocab_size: 8 },
  ...{
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: 'silu',
    max_position_embeddings: 32,
    tie_word_embeddings: false,
  },
}
const CONFIGS: Readonly<Record<string, Config>> = {
  llama: { ...COMMON, model_type: 'llama', architectures: ['LlamaForCausalLM'], intermediate_size: WIDTH },
  mistral: { ...COMMON, model_type: 'mistral', intermediate_size: WIDTH, sliding_window: 16 },
  mixtral: { ...COMMON, model_type: 'mixtral', intermediate_size: WIDTH, num_experts_per_tok: 2 },
  qwen2_moe: {
    ...{ ...COMMON, model_type: 'qwen2_moe', moe_intermediate_size: WIDTH, num_experts: 2, num_experts_per_tok: 1 },
    ...{ norm_topk_prob: false, intermediate_size: 99 },
  },
  qwen3_moe: {
    ...{ ...COMMON, model_type: 'qwen3_moe', moe_intermediate_size: WIDTH, num_experts: 2, num_experts_per_tok: 1 },
    ...{ norm_topk_prob: true, use_sliding_window: true, sliding_window: 16, max_window_layers: 1, head_dim: HIDDEN },
  },
}

function write(folder: string, name: string, tensors: Tensors, config: Config): void {
  mkdirSync(path.join(folder, name), { recursive: true })
  writeModel(path.join(folder, name, 'model.safetensors'), tensors)
  writeFileSync(path.join(folder, name, 'config.json'), JSON.stringify(config))
}

interface Made {
  readonly tensors: Tensors
  readonly config: Record<string, unknown>
  readonly lineage: Lineage
}

const recipeOf = (folder: string, steps: object, names: readonly string[]) => ({
  ...{ terge: 1, steps, output: path.join(folder, 'out') },
  models: Object.fromEntries(names.map((name) => [name, path.join(folder, name)])),
})

async function make(folder: string, steps: object, ...names: string[]): Promise<Made> {
  const recipe = recipeOf(folder, steps, names)
  const { outputs } = await run(await plan(recipe), { sync: false, force: true })
  return {
    tensors: tensorsOf(recipe.output),
    config: JSON.parse(readFileSync(path.join(recipe.output, 'config.json'), 'utf8')),
    lineage: outputs[0]!.lineage,
  }
}

async function refused(folder: string, steps: object, ...names: string[]): Promise<string> {
  const { diagnostics } = await validate(recipeOf(folder, steps, names))
  return diagnostics.map(({ code, message }) => `${code}: ${message}`).join('\n')
}

/** BF16 as float32. */
const widened = ({ bytes, shape }: RawTensor): RawTensor => {
  const halves = new Uint16Array(bytes.slice().buffer)
  return f32(shape, new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer))
}
const notes = ({ lineage }: Made): string => stepNotes(Object.values(lineage.steps).at(-1)!).join('\n')

test('a pool has the dtypes of the first mixture, in both layouts', () =>
  inFolder(async (folder) => {
    const [a, b] = [mixture('mixtral', 2, random, 1), mixture('mixtral', 3, half, 2)]
    write(folder, 'a', a, CONFIGS.mixtral!)
    write(folder, 'b', b, CONFIGS.mixtral!)
    const parts = await make(folder, { x: { moe: { pool: ['a', 'b'] } } }, 'a', 'b')
    const fused = await make(folder, { x: { moe: { pool: ['a', 'b'], layout: 'fused' } } }, 'a', 'b')
    assert.equal(
      [...new Set([parts, fused].flatMap(({ tensors }) => Object.values(tensors)).map((one) => one.dtype))],
      ['F32'],
    )
    const at = 'model.layers.1.block_sparse_moe'
    const down = f32Of(fused.tensors['model.layers.1.mlp.experts.down_proj']!)
    for (const [index, expert] of [0, 1, 2, 3, 4].entries()) {
      const wanted =
        expert < 2 ? a[`${at}.experts.${expert}.w2.weight`]! : widened(b[`${at}.experts.${expert - 2}.w2.weight`]!)
      assert.equal(parts.tensors[`${at}.experts.${index}.w2.weight`]!.bytes, wanted.bytes)
      assert.equal([...down.subarray(24 * index, 24 * (index + 1))], [...f32Of(wanted)])
    }
    const rows = [...f32Of(a[`${at}.gate.weight`]!), ...f32Of(widened(b[`${at}.gate.weight`]!))]
    assert.equal([...f32Of(parts.tensors[`${at}.gate.weight`]!)], rows)
    // Their configurations leave the number of experts to the class, whose default is 8.
    assert.equal([parts.config.num_local_experts, parts.config.num_experts_per_tok], [5, 2])
    // The other way round, all are BF16.
    const other = await make(folder, { x: { moe: { pool: ['b', 'a'] } } }, 'a', 'b')
    assert.equal([...new Set(Object.values(other.tensors).map(({ dtype }) => dtype))], ['BF16'])
  }))

test('a lineage names all models of a router, and says how one is made', () =>
  inFolder(async (folder) => {
    for (const [name, seed] of [['a', 1] as const, ['b', 2] as const])
      write(folder, name, mixture('mixtral', 2, random, seed), { ...CONFIGS.mixtral, num_local_experts: 2 })
    const { lineage } = await make(folder, { x: { moe: { pool: ['a', 'b'], layout: 'fused' } } }, 'a', 'b')
    const { method, sources } = lineage.tensors['model.layers.1.mlp.gate.weight']!
    assert.equal([method, sources.map(({ model }) => model)], ['concat', ['a', 'b']])
    const down = lineage.tensors['model.layers.1.mlp.experts.down_proj']!
    assert.equal(
      down.sources.map(({ model, tensor }) => `${model} ${tensor}`),
      ['a', 'b'].flatMap((model) =>
        [0, 1].map((expert) => `${model} model.layers.1.block_sparse_moe.experts.${expert}.w2.weight`),
      ),
    )
    const fixture = (name: string): string => path.resolve('test/fixtures/moe', name)
    const [base, a] = ['base', 'a'].map((name) => fixture(`in/llama-${name}`))
    const experts = [
      { model: 'a', prompts: ['One.'], noise_scale: 0.5 },
      { model: 'base', prompts: ['*Two*'], negative: ['Three'], residual_scale: 0.5 },
    ]
    const recipe = {
      ...{ terge: 1, models: { base, a }, output: path.join(folder, 'mix'), seed: 7 },
      steps: { x: { moe: { base: 'base', experts, layout: 'fused' } } },
    }
    const prepared = await plan(recipe)
    const { edges } = planGraph(prepared.plan)
    assert.equal(
      edges.map(({ from, to, label }) => `${from} ${to} ${label}`),
      ['n0 n2 copied 15, noise 4, computed 2', 'n1 n2 noise 4', 'n2 n3 21 tensors'],
    )
    const { outputs } = await run(prepared, { sync: false })
    const made = outputs[0]!.lineage
    const router = made.tensors['model.layers.0.mlp.gate.weight']!
    assert.is(router.method, 'moe')
    assert.is(router.parameters.gate, 'embedding')
    assert.match(String(router.parameters.prompts), /^sha256:[0-9a-f]{64}$/)
    const noised = made.tensors['model.layers.0.mlp.experts.gate_up_proj']!
    assert.equal([...new Set(noised.sources.map(({ model }) => model))], ['a', 'base'])
    const { experts: recorded, ...record } = made.steps.x as unknown as { experts: readonly object[] }
    assert.equal(recorded[1], {
      ...{ model: 'base', scale: 0.5, noise: 0, prompts: ['*Two*'], negative: ['Three'] },
    })
    const { seed, gate, architecture, experts_per_token } = record as unknown as Record<string, unknown>
    assert.equal([seed, gate, architecture, experts_per_token], [7, 'embedding', 'mixtral', 2])
    const card = readFileSync(path.join(folder, 'mix/README.md'), 'utf8')
    assert.match(card, /^tags: \[merge, moe, terge\]$/m)
    assert.match(card, /^- expert 1: base, scale 0.5, 1 prompt, 1 negative prompt\n {2}- \\\*Two\\\*$/m)
    const before = made.tensors['model.embed_tokens.weight']!
    assert.equal([before.method, before.reason], ['copy', 'mixture'])
  }))

test('a pool says what it leaves out, and refuses experts that would compute something else', () =>
  inFolder(async (folder) => {
    write(folder, 'a', mixture('qwen', 2, random, 1, WIDTH), CONFIGS.qwen2_moe!)
    write(folder, 'b', mixture('qwen', 3, random, 2, 9), { ...CONFIGS.qwen2_moe, num_experts: 3, norm_topk_prob: true })
    const found = await make(folder, { x: { moe: { pool: ['a', 'b'] } } }, 'a', 'b')
    assert.is(found.config.num_experts, 5)
    assert.match(notes(found), /shared expert of 'b' is not in the result; that of 'a' is/)
    assert.match(notes(found), /norm_topk_prob is that of 'a', false/)
    assert.match(stepLine('x', found.lineage.steps.x!)!, /qwen2_moe of 5 experts: 2 of a and 3 of b; 1 per token/)
    write(folder, 'c', mixture('qwen', 2, random, 3, WIDTH), { ...CONFIGS.qwen2_moe, hidden_act: 'gelu' })
    assert.match(
      await refused(folder, { x: { moe: { pool: ['a', 'c'] } } }, 'a', 'c'),
      /bad-mixture: 'a' has hidden_act "silu", and 'c' "gelu"/,
    )
  }))

test('mixtures without a dense form are pooled with all rows of their routers, and are not made dense', () =>
  inFolder(async (folder) => {
    const bias = (layer: number) => `model.layers.${layer}.mlp.gate.e_score_correction_bias`
    const models = [1, 2].map((seed) => ({
      ...mixture('qwen', 2, random, seed),
      ...Object.fromEntries([0, 1].map((layer) => [bias(layer), random([2], seed + 200 + layer)] as const)),
    }))
    const config = { ...COMMON, model_type: 'deepseek_v3', n_routed_experts: 2, num_experts_per_tok: 1 }
    write(folder, 'a', models[0]!, { ...config, moe_intermediate_size: WIDTH, routed_scaling_factor: 2.5 })
    write(folder, 'b', models[1]!, { ...config, moe_intermediate_size: WIDTH, routed_scaling_factor: 2.5 })
    write(folder, 'c', models[1]!, { ...config, moe_intermediate_size: WIDTH, routed_scaling_factor: 1 })
    const { tensors, config: made } = await make(folder, { x: { moe: { pool: ['a', 'b'] } } }, 'a', 'b')
    assert.is(made.n_routed_experts, 4)
    const both = models.flatMap((model) => [...f32Of(model[bias(1)]!)])
    assert.equal([...f32Of(tensors[bias(1)]!)], both)
    const up = (expert: number) => `model.layers.1.mlp.experts.${expert}.up_proj.weight`
    assert.equal(tensors[up(3)]!.bytes, models[1]![up(1)]!.bytes)
    assert.match(
      await refused(folder, { x: { moe: { pool: ['a', 'c'] } } }, 'a', 'c'),
      /'a' has routed_scaling_factor 2.5, and 'c' 1/,
    )
    assert.match(
      await refused(folder, { x: { moe: { dense: { model: 'a' } } } }, 'a'),
      /not a mixture that this step knows/,
    )
  }))

test('a dense model leaves out experts of weight 0, whatever they are', () =>
  inFolder(async (folder) => {
    const moe = mixture('qwen', 3, random, 1, 9)
    const at = 'model.layers.0.mlp'
    const name = `${at}.experts.1.up_proj.weight`
    moe[name] = f32([WIDTH, HIDDEN], new Float32Array(WIDTH * HIDDEN).fill(Number.NaN))
    delete moe['model.layers.1.self_attn.k_proj.bias']
    write(folder, 'm', moe, { ...CONFIGS.qwen2_moe, num_experts: 3 })
    const found = await make(folder, { x: { moe: { dense: { model: 'm', weights: [3, 0, -1, 0] } } } }, 'm')
    const [first, last] = [0, 2].map((expert) => f32Of(moe[`${at}.experts.${expert}.up_proj.weight`]!))
    f32Of(found.tensors[`${at}.up_proj.weight`]!).forEach((value, i) => {
      assert.is(value, Math.fround((3 * first![i]! - last![i]!) / 2))
    })
    assert.equal(f32Of(found.tensors['model.layers.1.self_attn.k_proj.bias']!), new Float32Array(HIDDEN))
    assert.equal([found.config.model_type, found.config.intermediate_size], ['qwen2', WIDTH])
    assert.match(notes(found), /the shared expert of 'm' is not in the result/)
    assert.match(notes(found), /norm_topk_prob of 'm' is false/)
    assert.match(notes(found), /biases of q, k and v .* are zeros/)
  }))

test('a dense model of Qwen3-MoE has its windows in all layers', () =>
  inFolder(async (folder) => {
    write(folder, 'm', mixture('qwen', 2, random, 1), CONFIGS.qwen3_moe!)
    const { config } = await make(folder, { x: { moe: { dense: { model: 'm' } } } }, 'm')
    assert.equal(
      [config.layer_types, config.max_window_layers, config.sliding_window, config.use_sliding_window],
      [['sliding_attention', 'sliding_attention'], 0, 16, true],
    )
  }))

test('an upcycled model becomes its model again, byte for byte', () =>
  inFolder(async (folder) => {
    const model = dense(random, 1)
    write(folder, 'model', model, CONFIGS.llama!)
    const copies = (count: number, layout: string) => ({ moe: { upcycle: { model: 'model', copies: count }, layout } })
    for (const [count, layout] of [
      [3, 'parts'],
      [7, 'fused'],
    ] as const) {
      const steps = { mix: copies(count, layout), x: { moe: { dense: { model: 'mix' } } } }
      const { tensors } = await make(folder, steps, 'model')
      for (const [name, { bytes }] of Object.entries(model)) assert.equal(tensors[name]!.bytes, bytes, name)
    }
  }))

test('chains: a dense model of a mixture is a base, stacks keep their layers, and mixtures merge with each other', () =>
  inFolder(async (folder) => {
    const [a, b] = [mixture('mixtral', 2, random, 1), mixture('mixtral', 2, random, 2)]
    write(folder, 'a', a, { ...CONFIGS.mixtral, num_local_experts: 2 })
    write(folder, 'b', b, { ...CONFIGS.mixtral, num_local_experts: 2 })
    const d = { moe: { dense: { model: 'a', weights: [1, 0] } } }
    const mix = { moe: { base: 'd', gate: 'random', experts: [{ model: 'd' }, { model: 'd' }, { model: 'd' }] } }
    const again = await make(folder, { d, mix }, 'a')
    assert.equal([again.config.model_type, again.config.num_local_experts], ['mixtral', 3])
    const w1 = (expert: number) => `model.layers.1.block_sparse_moe.experts.${expert}.w1.weight`
    assert.equal(again.tensors[w1(2)]!.bytes, a[w1(0)]!.bytes)
    const stack = {
      stack: [
        { model: 'a', layers: [0, 2] },
        { model: 'a', layers: [1, 2] },
      ],
    }
    const tall = await make(folder, { stack, x: { moe: { dense: { model: 'stack' } } } }, 'a')
    assert.is(tall.config.num_hidden_layers, 3)
    assert.ok(tall.tensors['model.layers.2.mlp.up_proj.weight'])
    // The default base of a merge of mixtures is the first of them, and not the recipe's first model.
    const pool = (...models: string[]) => ({ moe: { pool: models } })
    const steps = { p: pool('a', 'b'), q: pool('b', 'a'), x: { merge: { method: 'linear', models: ['p', 'q'] } } }
    const merged = await make(folder, steps, 'a', 'b')
    assert.is(merged.config.num_local_experts, 4)
    f32Of(merged.tensors[w1(3)]!).forEach((value, i) => {
      const wanted = (f32Of(b[w1(1)]!)[i]! + f32Of(a[w1(1)]!)[i]!) / 2
      assert.ok(Math.abs(value - wanted) < 1e-7)
    })
  }))

test('an adapter of two mixtures that steps make is that of their outputs', () =>
  inFolder(async (folder) => {
    const models: Record<string, string> = {}
    for (const [seed, name] of ['a', 'b', 'x', 'y'].entries()) {
      models[name] = path.join(folder, name)
      if (seed < 2) write(folder, name, dense(random, seed + 1), CONFIGS.llama!)
    }
    const mix = (first: string, second: string) => ({
      moe: { base: 'a', gate: 'random', experts: [{ model: first }, { model: second }] },
    })
    const made = { x: mix('a', 'b'), y: mix('b', 'a') }
    const e = { extract: { lora: { from: 'y', base: 'x', rank: 2 } } }
    const { a, b, ...written } = models
    const outputs = Object.entries(written).map(([from, out]) => ({ path: out, from }))
    await run(await plan({ terge: 1, models: { a, b }, steps: made, outputs }), { sync: false })
    const adapters = [path.join(folder, 'of-steps'), path.join(folder, 'of-outputs')] as const
    for (const [index, source] of [
      { models: { a, b }, steps: { ...made, e } },
      { models: written, steps: { e } },
    ].entries())
      await run(await plan({ terge: 1, ...source, output: { path: adapters[index], from: 'e' } }), { sync: false })
    const [ofSteps, ofOutputs] = adapters.map((adapter) => tensorsOf(adapter)) as [Tensors, Tensors]
    const modules = ['experts', 'experts.base_layer', 'gate']
    const names = [0, 1].flatMap((layer) =>
      modules.flatMap((module) =>
        ['A', 'B'].map((factor) => `base_model.model.model.layers.${layer}.mlp.${module}.lora_${factor}.weight`),
      ),
    )
    assert.equal(Object.keys(ofSteps).sort(), names.sort())
    // In the outputs, nothing shows that the other layers are the same.
    for (const name of names) assert.equal(ofSteps[name], ofOutputs[name], name)
  }))

test('a mixture with noise and zeros is aligned as its output is', () =>
  inFolder(async (folder) => {
    const at = (name: string): string => path.join(folder, name)
    for (const [index, name] of ['a', 'b'].entries()) write(folder, name, dense(random, index + 1), CONFIGS.llama!)
    const mix = (first: string, second: string, more: object) => ({
      moe: {
        ...{ base: first, gate: 'random', architecture: 'qwen2_moe', ...more },
        experts: [{ model: first }, { model: second }],
        shared_expert: { model: first, gate: 'zero' },
      },
    })
    const made = { x: mix('a', 'b', {}), y: mix('b', 'a', { noise_scale: 0.5, seed: 2 }) }
    const r = { rebasin: { model: 'y', onto: 'x' } }
    const [models, written] = [['a', 'b'] as const, ['x', 'y'] as const].map((names) =>
      Object.fromEntries(names.map((name) => [name, at(name)])),
    )
    const outputs = ['x', 'y'].map((from) => ({ path: at(from), from }))
    await run(await plan({ terge: 1, models, steps: made, outputs }), { sync: false })
    await run(await plan({ terge: 1, models, steps: { ...made, r }, output: { path: at('1'), from: 'r' } }))
    await run(await plan({ terge: 1, models: written, steps: { r }, output: { path: at('2'), from: 'r' } }))
    const [ofSteps, ofOutputs, before] = ['1', '2', 'y'].map((name) => tensorsOf(at(name))) as [
      Tensors,
      Tensors,
      Tensors,
    ]
    for (const [name, tensor] of Object.entries(ofOutputs)) assert.equal(ofSteps[name], tensor, name)
    const gate = 'model.layers.0.mlp.experts.0.up_proj.weight'
    assert.not.equal(ofSteps[gate], before[gate])
  }))

test('experts of a quantized base are quantized, and routers are not', () =>
  inFolder(async (folder) => {
    const names = [
      ...['q', 'k', 'v', 'o'].map((part) => `self_attn.${part}_proj`),
      ...PARTS.map((part) => `mlp.${part}`),
    ]
    const tensors = {
      'model.embed_tokens.weight': random([8, 128], 1),
      'lm_head.weight': random([8, 128], 2),
      ...Object.fromEntries(
        names.map((name, at) => [`model.layers.0.${name}.weight`, random([128, 128], at + 3)] as const),
      ),
    }
    const sizes = { hidden_size: 128, intermediate_size: 128, num_hidden_layers: 1 }
    write(folder, 'model', tensors, { ...CONFIGS.llama, ...sizes })
    const model = path.join(folder, 'model')
    const quantized = { path: path.join(folder, 'quantized'), quantize: 'fp8-channel' }
    const merge = { method: 'passthrough', models: ['model'] }
    await run(await plan({ terge: 1, models: { model }, merge, output: quantized }), { sync: false })
    const steps = { x: { moe: { upcycle: { model: 'quantized', copies: 2 } } } }
    const output = { path: path.join(folder, 'mix'), quantize: 'fp8-channel' }
    const models = { quantized: quantized.path }
    await run(await plan({ terge: 1, models, steps, output }), { sync: false })
    const [before, found] = [tensorsOf(quantized.path), tensorsOf(output.path)]
    const at = 'model.layers.0.block_sparse_moe'
    assert.equal(found[`${at}.experts.1.w1.weight`]!.bytes, before['model.layers.0.mlp.gate_proj.weight']!.bytes)
    assert.is(found[`${at}.experts.1.w1.weight`]!.dtype, 'F8_E4M3')
    assert.is(found[`${at}.gate.weight`]!.dtype, 'BF16')
  }))

test('layer types have one entry for each layer of a mixture of a stack, and a window that goes is reported', () =>
  inFolder(async (folder) => {
    write(folder, 'm', dense(random, 1), CONFIGS.mistral!)
    const qwen = { ...CONFIGS.llama, model_type: 'qwen2', use_sliding_window: true, sliding_window: 16 }
    const types = { layer_types: ['full_attention', 'sliding_attention'] }
    write(folder, 'q', { ...dense(random, 1), ...rest(random, 1, true) }, { ...qwen, ...types })
    const stack = {
      stack: [
        { model: 'q', layers: [0, 2] },
        { model: 'q', layers: [1, 2] },
      ],
    }
    const shared_expert = { model: 's', scale: 0 }
    const x = { moe: { upcycle: { model: 's', copies: 2 }, shared_expert } }
    const tall = await make(folder, { s: stack, x }, 'q')
    assert.equal(tall.config.layer_types, Array(3).fill('full_attention'))
    assert.match(notes(tall), /^some layers of 's' see 16 tokens back, those of the mixture see all$/)
    const after = {
      x: { moe: { upcycle: { model: 'q', copies: 2 }, shared_expert: { model: 'q', scale: 0 } } },
      y: {
        stack: [
          { model: 'x', layers: [0, 2] },
          { model: 'x', layers: [1, 2] },
        ],
      },
    }
    assert.equal((await make(folder, after, 'q')).config.layer_types, Array(3).fill('full_attention'))
    const mistral = await make(folder, { x: { moe: { upcycle: { model: 'm', copies: 4, noise: 0.5 }, seed: 3 } } }, 'm')
    assert.match(notes(mistral), /the layers of 'm' see 16 tokens back/)
    assert.is(
      stepLine('x', mistral.lineage.steps.x!),
      'x: mixtral of 4 copies of m; 2 per token; random routers; noise 0.5; seed 3',
    )
  }))

test.run()
