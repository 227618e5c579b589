/** Mixtures of experts, against the values of mergekit (test/fixtures/moe) and against what they are defined to be. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan, run, validate } from '../../src/index.js'
import { moeCost } from '../../src/steps/moe/analyse.js'
import { f32Of, inFolder, tensorsOf } from '../support/files.js'

const fixture = (name: string): string => path.resolve('test/fixtures/moe', name)

type Tensors = Readonly<
  Record<string, { readonly dtype: string; readonly shape: readonly number[]; readonly values: Float32Array }>
>

const read = (folder: string): Tensors =>
  Object.fromEntries(
    Object.entries(tensorsOf(folder)).map(([name, tensor]) => {
      const { dtype, shape } = tensor
      return [name, { dtype, shape, values: f32Of(tensor) }]
    }),
  )
const configOf = (folder: string) => JSON.parse(readFileSync(path.join(folder, 'config.json'), 'utf8'))

const FIRST = { model: 'a', prompts: ['Translate the sentence into French.', 'for i in range(3):\n    print(i)'] }
const SECOND = {
  model: 'b',
  prompts: ['The orchestra plays at 8.30 — naïve Köln'],
  negative: ['SELECT name FROM users', 'Rain fell.'],
}
const THIRD = ["Bakers rise, don't they?"]

const recipe = (kind: string, moe: object, more: object = {}) => ({
  terge: 1,
  models: Object.fromEntries(['base', 'a', 'b'].map((name) => [name, fixture(`in/${kind}-${name}`)])),
  steps: { mix: { moe }, ...more },
})

async function made(
  folder: string,
  source: object,
  name = 'out',
): Promise<{ tensors: Tensors; config: Record<string, unknown>; lineage: { steps: unknown } }> {
  const out = path.join(folder, name)
  await run(await plan({ ...source, output: out }))
  return {
    tensors: read(out),
    config: configOf(out),
    lineage: JSON.parse(readFileSync(path.join(out, 'lineage.json'), 'utf8')),
  }
}

const layers = [0, 1]
const GATE = /gate\.weight$/

/** The same tensors; routers may differ in their last bit. */
function alike(found: Tensors, wanted: Tensors): void {
  assert.equal(Object.keys(found).sort(), Object.keys(wanted).sort())
  for (const [name, { shape, values }] of Object.entries(wanted)) {
    assert.equal(found[name]!.shape, shape, name)
    const worst = values.reduce((most, value, i) => Math.max(most, Math.abs(value - found[name]!.values[i]!)), 0)
    assert.ok(GATE.test(name) ? worst < 2e-7 : worst === 0, `${name}: ${worst}`)
  }
}

const CASES: readonly [name: string, kind: string, moe: object, keys: readonly string[]][] = [
  [
    'mixtral',
    'llama',
    { experts: [FIRST, { ...SECOND, residual_scale: 0.4 }, { model: 'base', prompts: THIRD }], layout: 'fused' },
    [
      'architectures',
      'model_type',
      'num_local_experts',
      'num_experts_per_tok',
      'sliding_window',
      'intermediate_size',
      'rms_norm_eps',
      'tie_word_embeddings',
    ],
  ],
  [
    'deepseek',
    'llama',
    {
      architecture: 'deepseek',
      experts_per_token: 1,
      experts: [FIRST, SECOND],
      shared_expert: { model: 'base', scale: 0.2 },
    },
    [
      'architectures',
      'model_type',
      'n_routed_experts',
      'n_shared_experts',
      'first_k_dense_replace',
      'moe_layer_freq',
      'scoring_func',
      'norm_topk_prob',
      'moe_intermediate_size',
      'auto_map',
      'num_experts_per_tok',
    ],
  ],
  [
    'qwen2',
    'qwen2',
    { experts: [FIRST, SECOND], shared_expert: { model: 'base', scale: 0.2, prompts: THIRD } },
    [
      'architectures',
      'model_type',
      'num_experts',
      'num_experts_per_tok',
      'moe_intermediate_size',
      'shared_expert_intermediate_size',
      'decoder_sparse_step',
      'norm_topk_prob',
      'use_sliding_window',
      'mlp_only_layers',
    ],
  ],
  [
    'qwen3',
    'qwen3',
    { experts_per_token: 1, experts: [FIRST, SECOND], layout: 'fused' },
    [
      'architectures',
      'model_type',
      'num_experts_per_tok',
      'moe_intermediate_size',
      'decoder_sparse_step',
      'mlp_only_layers',
      'norm_topk_prob',
      'head_dim',
      'tie_word_embeddings',
    ],
  ],
]

for (const [name, kind, moe, keys] of CASES)
  test(`${name}: tensors and configuration are those of mergekit`, () =>
    inFolder(async (folder) => {
      const { tensors, config, lineage } = await made(folder, recipe(kind, { base: 'base', ...moe }))
      alike(tensors, read(fixture(`out/${name}`)))
      const wanted = configOf(fixture(`out/${name}`))
      for (const key of keys) assert.equal(config[key], wanted[key], key)
      assert.ok(config.rope_theta)
      const [step] = Object.values(lineage.steps as Record<string, { kind: string; tokens: number[] }>)
      assert.is(step!.kind, 'moe')
      const text = readFileSync(path.join(folder, 'out/tokenizer.json'))
      assert.equal(text, readFileSync(fixture(`in/${kind}-base/tokenizer.json`)))
    }))

test('a mergekit-moe configuration runs as it is', () =>
  inFolder(async (folder) => {
    for (const [name, kind] of [
      ['mixtral', 'llama'],
      ['qwen2', 'qwen2'],
    ] as const) {
      for (const model of ['base', 'a', 'b'])
        cpSync(fixture(`in/${kind}-${model}`), path.join(folder, `in/${kind}-${model}`), { recursive: true })
      cpSync(fixture(`${name}.yml`), path.join(folder, `${name}.yml`))
      await run(await plan(path.join(folder, `${name}.yml`), { output: path.join(folder, name) }))
      const found = read(path.join(folder, name))
      if (name === 'qwen2') alike(found, read(fixture('out/qwen2')))
      else
        assert.equal(
          found['model.layers.0.block_sparse_moe.experts.1.w3.weight'],
          read(path.join(folder, 'in/llama-b'))['model.layers.0.mlp.up_proj.weight'],
        )
    }
    const text = readFileSync(path.join(folder, 'mixtral.yml'), 'utf8')
    const refused = async (changed: string) => {
      writeFileSync(path.join(folder, 'x.yml'), changed)
      return (await validate(path.join(folder, 'x.yml'))).diagnostics.map(
        ({ code, hint }) => [code, hint ?? ''] as const,
      )
    }
    const [hidden] = await refused(text.replace('gate_mode: cheap_embed\n', ''))
    assert.is(hidden![0], 'missing-statistics')
    // Both files are named as the shell needs them, and relative to the configuration.
    assert.match(hidden![1], /python mixture_statistics\.py (.*)x\.yml \1hidden\.safetensors;/)
    const last = await refused(text.replace('cheap_embed', 'hidden_last'))
    assert.equal(
      last.map(([code]) => code),
      ['missing-statistics'],
    )
    const method = await refused(`${text}merge_method: linear\n`)
    assert.equal(
      method.map(([code]) => code),
      ['ignored-key'],
    )
    const same = text.replace(/source_model: .*/g, 'source_model: in/llama-a')
    assert.is((await refused(same))[0]![0], 'contradiction')
    assert.equal(await refused(`${same}equal_experts: true\n`), [])
    assert.is((await refused(`${text}architecture: qwen2\n`))[0]![0], 'bad-value')
    assert.is((await refused(text.replace('residual_scale', 'residual_scales')))[0]![0], 'ignored-key')
  }))

test('rows by statistics are normalised differences of means, layer by layer', () =>
  inFolder(async (folder) => {
    const file = fixture('hidden.safetensors')
    const experts = [{ model: 'a' }, { model: 'b' }, { model: 'base' }]
    const { tensors } = await made(folder, recipe('llama', { base: 'base', statistics: file, experts }))
    cpSync(file, path.join(folder, 'model.safetensors'))
    const means = read(folder)
    for (const layer of layers)
      for (const expert of [0, 1, 2]) {
        const part = (name: string) => [
          ...(means[`expert.${expert}.${name}`]?.values.subarray(16 * layer, 16 * layer + 16) ?? new Float32Array(16)),
        ]
        const difference = part('positive').map((value, i) => value - part('negative')[i]!)
        const norm = Math.hypot(...difference)
        const row = tensors[`model.layers.${layer}.block_sparse_moe.gate.weight`]!.values.subarray(
          16 * expert,
          16 * expert + 16,
        )
        difference.forEach((value, i) => {
          assert.ok(Math.abs(row[i]! - value / norm) < 1e-6)
        })
      }
    const { diagnostics } = await validate({
      ...recipe('llama', { base: 'base', statistics: file, experts: experts.slice(0, 2) }),
      output: 'x',
    })
    assert.equal(
      diagnostics.filter(({ severity }) => severity === 'error').map(({ code }) => code),
      ['bad-statistics'],
    )
  }))

test('noise and random routers depend on the seed, and not on the layout or the number of threads', () =>
  inFolder(async (folder) => {
    const upcycle = { upcycle: { model: 'base', copies: 3, noise: 0.1 }, residual_scale: 0.5 }
    const one = await made(folder, recipe('llama', { ...upcycle, seed: 4 }), 'one')
    const out = path.join(folder, 'threads')
    await run(await plan({ ...recipe('llama', { ...upcycle, seed: 4 }), output: out }), { threads: 1 })
    assert.equal(read(out), one.tensors)
    const fused = await made(folder, recipe('llama', { ...upcycle, seed: 4, layout: 'fused' }), 'fused')
    const other = await made(folder, recipe('llama', { ...upcycle, seed: 5 }), 'other')
    const base = read(fixture('in/llama-base'))
    for (const layer of layers) {
      const at = `model.layers.${layer}`
      const down = fused.tensors[`${at}.mlp.experts.down_proj`]!
      const own = base[`${at}.mlp.down_proj.weight`]!.values
      for (const expert of [0, 1, 2]) {
        const found = one.tensors[`${at}.block_sparse_moe.experts.${expert}.w2.weight`]!.values
        assert.equal(down.values.subarray(320 * expert, 320 * expert + 320), found)
        assert.not.equal(found, other.tensors[`${at}.block_sparse_moe.experts.${expert}.w2.weight`]!.values)
        // (W + 0.1 · N) · 0.5: what is left of 320 numbers has about the size that was asked for.
        const noise = found.map((value, i) => (value / 0.5 - own[i]!) / 0.1)
        const deviation = Math.sqrt(noise.reduce((sum, value) => sum + value * value, 0) / noise.length)
        assert.ok(deviation > 0.8 && deviation < 1.2, `${deviation}`)
      }
      assert.equal(fused.tensors[`${at}.mlp.gate.weight`], one.tensors[`${at}.block_sparse_moe.gate.weight`])
    }
    const [first, second] = layers.map(
      (layer) => one.tensors[`model.layers.${layer}.block_sparse_moe.gate.weight`]!.values,
    )
    assert.not.equal(first, second)
    assert.is(one.config.num_local_experts, 3)
  }))

test('mixtures are pooled, whatever their layouts, and experts become a dense model again', () =>
  inFolder(async (folder) => {
    const mixture = (model: string, layout: string) => ({
      moe: { base: 'base', gate: 'random', layout, seed: layout.length, experts: [{ model }, { model: 'base' }] },
    })
    const steps = { x: mixture('a', 'parts'), y: mixture('b', 'fused') }
    const source = (layout: string) => ({
      ...recipe('llama', {}),
      steps: { ...steps, mix: { moe: { pool: ['x', 'y'], layout, experts_per_token: 3 } } },
    })
    await made(folder, { ...recipe('llama', {}), steps: { x: steps.x } }, 'x')
    await made(folder, { ...recipe('llama', {}), steps: { y: steps.y } }, 'y')
    const [x, y] = ['x', 'y'].map((name) => read(path.join(folder, name)))
    const models = { x: path.join(folder, 'x'), y: path.join(folder, 'y') }
    const pool = (layout: string) => ({
      terge: 1,
      models,
      steps: { mix: { moe: { pool: ['x', 'y'], layout, experts_per_token: 3 } } },
    })
    const parts = await made(folder, pool('parts'), 'parts')
    assert.is(parts.config.num_local_experts, 4)
    assert.is(parts.config.num_experts_per_tok, 3)
    const at = 'model.layers.1'
    const w1 = (expert: number) => parts.tensors[`${at}.block_sparse_moe.experts.${expert}.w1.weight`]!.values
    assert.equal(w1(0), x![`${at}.block_sparse_moe.experts.0.w1.weight`]!.values)
    assert.equal(w1(2), y![`${at}.mlp.experts.gate_up_proj`]!.values.subarray(0, 320))
    const gates = [x![`${at}.block_sparse_moe.gate.weight`]!, y![`${at}.mlp.gate.weight`]!].flatMap(({ values }) => [
      ...values,
    ])
    assert.equal([...parts.tensors[`${at}.block_sparse_moe.gate.weight`]!.values], gates)
    const whole = await made(folder, source('fused'), 'whole')
    assert.equal(whole.tensors[`${at}.mlp.experts.down_proj`]!.shape, [4, 16, 20])
    assert.equal(
      whole.tensors[`${at}.mlp.experts.down_proj`]!.values.subarray(0, 320),
      x![`${at}.block_sparse_moe.experts.0.w2.weight`]!.values,
    )
    const dense = await made(
      folder,
      { terge: 1, models, steps: { mix: { moe: { dense: { model: 'y', weights: [3, 1] } } } } },
      'dense',
    )
    const [b, base] = [read(fixture('in/llama-b')), read(fixture('in/llama-base'))]
    assert.equal(Object.keys(dense.tensors).sort(), Object.keys(base).sort())
    const name = `${at}.mlp.up_proj.weight`
    dense.tensors[name]!.values.forEach((value, i) => {
      assert.ok(Math.abs(value - (0.75 * b[name]!.values[i]! + 0.25 * base[name]!.values[i]!)) < 1e-6)
    })
    assert.equal(
      [dense.config.model_type, dense.config.sliding_window, dense.config.num_local_experts],
      ['mistral', null, undefined],
    )
  }))

test('rows that would say nothing are refused, or reported where only the run shows it', () =>
  inFolder(async (folder) => {
    const found = async (moe: object) => {
      const { diagnostics } = await validate({ ...recipe('llama', { base: 'base', ...moe }), output: 'x' })
      return diagnostics.map(({ code, message }) => `${code}: ${message}`).join('\n')
    }
    const other = { model: 'b', prompts: ['Rain fell.'] }
    // The start of a text is a token.
    assert.is(await found({ experts: [{ model: 'a', prompts: [''] }, other] }), '')
    const same = { model: 'a', prompts: ['one two', 'three'], negative: ['three', 'one two'] }
    assert.match(await found({ experts: [same, other] }), /^bad-mixture: .*'a' have the same tokens/)
    assert.match(await found({ gate: 'random', experts: [same, other] }), /^unused-key: gate: random does not use/)
    const shared = { model: 'a', negative: ['x'] }
    assert.match(
      await found({
        architecture: 'qwen2_moe',
        experts: [{ model: 'a', prompts: ['x'] }, other],
        shared_expert: shared,
      }),
      /^missing-key: the shared expert has negative prompts only/,
    )
    const file = fixture('hidden.safetensors')
    const three = ['a', 'b', 'base'].map((model) => ({ model }))
    const gated = { architecture: 'qwen2_moe', statistics: file, experts: three }
    assert.match(
      await found({ ...gated, shared_expert: { model: 'a', prompts: ['x'] } }),
      /missing-statistics: the statistics have no expert.3.positive/,
    )
    const twice = { experts: [{ ...other, model: 'a' }, other, { model: 'base', prompts: ['sun'] }] }
    const { lineage } = await made(folder, recipe('llama', { base: 'base', ...twice }))
    const [step] = Object.values(lineage.steps as Record<string, { equal: number[]; zeros?: number[] }>)
    assert.equal([step!.equal, step!.zeros], [layers, undefined])
  }))

test('the experts of a fused layer that steps make are held in memory four times', () => {
  const part = {
    name: 'p',
    dtype: 'F32',
    shape: [6, 4],
    expr: { kind: 'constant', step: 's', value: 0, shape: [6, 4] },
  }
  const joins = [{ tensor: 't', parts: [part, part, part] }] as const
  assert.is(moeCost({ kind: 'moe', steps: ['s'], joins } as never).bytes, 4 * 4 * 72)
})

test('mixtures that do not fit are refused with a reason', async () => {
  const refused = async (kind: string, moe: object, more: object = {}) => {
    const { diagnostics } = await validate({ ...recipe(kind, moe, more), output: 'out' })
    return diagnostics.filter(({ severity }) => severity === 'error').map(({ code, message }) => `${code}: ${message}`)
  }
  const random = { base: 'base', gate: 'random', experts: [{ model: 'a' }, { model: 'b' }] }
  const cases: [string, object, RegExp, object?][] = [
    ['qwen2', { ...random, architecture: 'mixtral' }, /qwen2 model can't become Mixtral/],
    ['qwen2', random, /Qwen MoE has a shared expert/],
    ['llama', { ...random, architecture: 'mixtral', shared_expert: { model: 'a' } }, /Mixtral has no shared expert/],
    ['llama', { ...random, architecture: 'deepseek', shared_expert: { model: 'a', prompts: ['x'] } }, /no gate/],
    ['llama', { ...random, architecture: 'deepseek', layout: 'fused' }, /single experts only/],
    [
      'llama',
      { ...random, experts: [{ model: 'short' }] },
      /short. has 1 layer, but the base has 2/,
      { short: { stack: [{ model: 'a', layers: [0, 1] }] } },
    ],
    ['llama', { dense: { model: 'a' } }, /not a mixture that this step knows/],
  ]
  for (const [kind, moe, reason, more] of cases) {
    const found = await refused(kind, moe, more)
    assert.is(found.length, 1, found.join('\n'))
    assert.match(found[0]!, /^bad-mixture: /)
    assert.match(found[0]!, reason)
  }
})

test('layers are shuffled by a seed, each from a model that is drawn by its weight', () =>
  inFolder(async (folder) => {
    const models = Object.fromEntries(['base', 'a', 'b'].map((name) => [name, fixture(`in/llama-${name}`)]))
    const shuffled = (seed: number, weights: number[]) => ({
      terge: 1,
      models,
      steps: { mix: { stack: { models: ['base', 'a', 'b'], weights, seed } } },
    })
    const name = (layer: number) => `model.layers.${layer}.mlp.up_proj.weight`
    const inputs = ['base', 'a', 'b'].map((model) => read(fixture(`in/llama-${model}`)))
    const from = async (seed: number, weights: number[]): Promise<string> => {
      const { tensors, lineage } = await made(folder, shuffled(seed, weights), `s${seed}-${weights}`)
      assert.equal(tensors['lm_head.weight'], inputs[0]!['lm_head.weight'])
      const drawn = layers
        .map((layer) =>
          inputs.findIndex(
            (input) =>
              Buffer.compare(
                Buffer.from(input[name(layer)]!.values.buffer),
                Buffer.from(tensors[name(layer)]!.values.buffer),
              ) === 0,
          ),
        )
        .join('')
      const { seed: own, layers: recorded } = (lineage.steps as { mix: { seed: number; layers: string[] } }).mix
      assert.is(own, seed)
      assert.is(recorded.map((model) => ['base', 'a', 'b'].indexOf(model)).join(''), drawn)
      return drawn
    }
    assert.is(await from(1, [0, 1, 0]), '11')
    const found = [
      await from(1, [1, 1, 1]),
      await from(2, [1, 1, 1]),
      await from(3, [1, 1, 1]),
      await from(4, [1, 1, 1]),
    ]
    assert.ok(new Set(found).size > 1, `${found}`)
    assert.not.match(found.join(), /-1/)
  }))

test.run()
