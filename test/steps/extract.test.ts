/** `extract`: layers by singular values, and modules that are saved whole. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Diagnostic, Fault, inspect, plan, run } from '../../src/index.js'
import type { ExtractRecord } from '../../src/steps/extract/types.js'
import { f32, f32Of, inFolder, type RawTensor, random, tensorsOf, writeModel } from '../support/files.js'

type Tensors = Readonly<Record<string, RawTensor>>

const scaled = (one: RawTensor, by: number): RawTensor =>
  f32(
    one.shape,
    f32Of(one).map((value) => by * value),
  )

/** A tensor plus another one. */
const plus = (one: RawTensor, other: RawTensor): RawTensor =>
  f32(
    one.shape,
    f32Of(one).map((value, i) => value + f32Of(other)[i]!),
  )

/** A model of the same shapes: tensor i is that of seed + i. */
const retuned = (base: Tensors, seed: number): Tensors =>
  Object.fromEntries(Object.entries(base).map(([name, { shape }], i) => [name, random(shape, seed + i)]))

const BASE: Tensors = {
  'model.embed_tokens.weight': random([10, 6], 1),
  'model.layers.0.q_proj.weight': random([6, 6], 2),
  'model.layers.0.q_proj.bias': random([6], 3),
  'model.layers.0.up_proj.weight': random([8, 6], 4),
  'model.norm.weight': random([6], 5),
  'lm_head.weight': random([10, 6], 6),
}

function writeFolder(folder: string, name: string, tensors: Tensors, config: object): void {
  mkdirSync(path.join(folder, name))
  writeModel(path.join(folder, name, 'model.safetensors'), tensors)
  writeFileSync(path.join(folder, name, 'config.json'), JSON.stringify(config))
}

const json = (...parts: string[]) => JSON.parse(readFileSync(path.join(...parts), 'utf8'))

/** Writes both models and the recipe, and runs it. */
async function extracted(folder: string, base: Tensors, tuned: Tensors, settings: string, config: object = {}) {
  writeFolder(folder, 'base', base, config)
  writeFolder(folder, 'tuned', tuned, config)
  const recipe = path.join(folder, 'r.yml')
  writeFileSync(
    recipe,
    `terge: 1
models: {base: ./base, tuned: ./tuned}
steps: {adapter: {extract: {lora: {from: tuned, base: base, ${settings}}}}}
output: {path: ./adapter, from: adapter}
`,
  )
  const prepared = await plan(recipe)
  const { diagnostics } = prepared
  await run(prepared)
  const { stored } = await inspect(path.join(folder, 'adapter'))
  return { diagnostics, names: [...stored.keys()], config: json(folder, 'adapter/adapter_config.json') }
}

/** The elements of a model in F32. */
const floatsOf = (...parts: string[]): ReadonlyMap<string, readonly number[]> =>
  new Map(Object.entries(tensorsOf(path.join(...parts))).map(([name, tensor]) => [name, [...f32Of(tensor)]]))

/** A folder for one of several extractions. */
function inside(folder: string, name: string): string {
  const own = path.join(folder, name)
  mkdirSync(own)
  return own
}

/** What the adapter makes of its base. */
async function applied(folder: string): Promise<ReadonlyMap<string, readonly number[]>> {
  const recipe = path.join(folder, 'apply.yml')
  writeFileSync(
    recipe,
    `terge: 1
models: {m: {path: ./base, lora: ./adapter}}
merge: {method: passthrough}
output: ./applied
`,
  )
  await run(await plan(recipe))
  return floatsOf(folder, 'applied')
}

const codesOf = (diagnostics: readonly Diagnostic[]) => diagnostics.map(({ code }) => code)

async function refused(
  folder: string,
  tuned: Tensors,
  settings: string,
  base = BASE,
  config: object = {},
): Promise<readonly Diagnostic[]> {
  try {
    await extracted(folder, base, tuned, settings, config)
  } catch (error) {
    assert.instance(error, Fault)
    return (error as Fault).diagnostics.filter(({ severity }) => severity === 'error')
  }
  throw new Error('not refused')
}

test('singular values up to sv_epsilon are cut; a layer with none left is not in the adapter, nor is its bias', () =>
  inFolder(async (folder) => {
    // A difference with singular values 2, 1 and 0.01.
    const diagonal = f32(
      [6, 6],
      Float32Array.from({ length: 36 }, (_, at) => (at % 7 === 0 ? ([2, 1, 0.01][at / 7] ?? 0) : 0)),
    )
    const name = 'model.layers.0.up_proj.weight'
    const zeros = (shape: readonly number[]) => f32(shape, new Float32Array(shape.reduce((all, size) => all * size, 1)))
    const tuned = {
      ...BASE,
      'model.layers.0.q_proj.weight': plus(zeros([6, 6]), diagonal),
      [name]: scaled(random([8, 6], 4), 1.0001),
    }
    const base = { ...BASE, 'model.layers.0.q_proj.weight': zeros([6, 6]) }
    const { names, config } = await extracted(folder, base, tuned, 'sv_epsilon: 0.1')
    assert.equal(
      names.map((own) => own.slice('base_model.model.model.'.length)),
      ['layers.0.q_proj.lora_A.weight', 'layers.0.q_proj.lora_B.weight'],
    )
    assert.equal([config.r, config.lora_alpha, config.target_modules], [2, 2, ['q_proj']])
    const { steps } = json(folder, 'adapter/lineage.json')
    const { left, modules } = steps.adapter as ExtractRecord
    assert.is(left?.[name], 'no singular value above sv_epsilon')
    assert.equal(Object.keys(modules), ['model.layers.0.q_proj.weight'])
  }))

test('sv_epsilon above every singular value', () =>
  inFolder(async (folder) => {
    const tuned = { ...BASE, 'model.layers.0.up_proj.weight': scaled(random([8, 6], 4), 1.01) }
    const [fault] = await refused(folder, tuned, 'rank: 4, sv_epsilon: 100')
    assert.is(fault?.code, 'nothing-to-extract')
    assert.match(fault!.message, 'no layer has a singular value above sv_epsilon, 100')
  }))

test('modules_to_save names modules, by their ends as in PEFT', () =>
  inFolder(async (folder) => {
    const tuned = retuned(BASE, 20)
    const settings = 'rank: 6, modules_to_save: [q_proj, lm_head], exclude: [model.norm.weight]'
    const { names, config } = await extracted(folder, BASE, tuned, settings)
    assert.equal(config.modules_to_save, ['lm_head', 'model.layers.0.q_proj'])
    assert.equal(config.target_modules, ['embed_tokens', 'up_proj'])
    assert.equal(names.filter((name) => !name.includes('lora')).sort(), [
      'base_model.model.lm_head.weight',
      'base_model.model.model.layers.0.q_proj.bias',
      'base_model.model.model.layers.0.q_proj.weight',
    ])
    const result = await applied(folder)
    for (const name of ['lm_head.weight', 'model.layers.0.q_proj.weight', 'model.layers.0.q_proj.bias'])
      assert.equal(result.get(name), [...f32Of(tuned[name]!)], name)
  }))

test('another vocabulary is saved whole, and the warning says how to load it', () =>
  inFolder(async (folder) => {
    const tuned: Tensors = {
      ...BASE,
      'model.layers.0.up_proj.weight': random([8, 6], 40),
      'model.embed_tokens.weight': random([12, 6], 41),
      'lm_head.weight': random([12, 6], 42),
    }
    const config = {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      tie_word_embeddings: false,
      vocab_size: 10,
    }
    const made = await extracted(folder, BASE, tuned, 'rank: 6', config)
    assert.equal(codesOf(made.diagnostics), ['adapter-resizes'])
    assert.match(made.diagnostics[0]!.hint!, 'model.resize_token_embeddings(12)')
    assert.equal(made.config.modules_to_save, ['lm_head', 'model.embed_tokens'])
    assert.not('ensure_weight_tying' in made.config)
    const result = await applied(folder)
    for (const name of ['model.embed_tokens.weight', 'lm_head.weight'])
      assert.equal(result.get(name), [...f32Of(tuned[name]!)], name)
    assert.is(json(folder, 'applied/config.json').vocab_size, 12)
  }))

test('an embedding with a tied head is saved whole under both names', () =>
  inFolder(async (folder) => {
    const { 'lm_head.weight': _, ...base } = BASE
    const embedding = random([12, 6], 41)
    const tuned = {
      ...base,
      'model.layers.0.up_proj.weight': random([8, 6], 40),
      'model.embed_tokens.weight': embedding,
    }
    const config = {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      tie_word_embeddings: true,
      vocab_size: 10,
    }
    const made = await extracted(folder, base, tuned, 'rank: 6', config)
    assert.equal(made.config.modules_to_save, ['lm_head', 'model.embed_tokens'])
    assert.is(made.config.ensure_weight_tying, true)
    assert.ok(made.names.includes('base_model.model.lm_head.weight'))
    const result = await applied(folder)
    assert.equal(result.get('model.embed_tokens.weight'), [...f32Of(embedding)])
    assert.not(result.has('lm_head.weight'))
  }))

/** A network with experts as files have it; in the memory of transformers 5, its experts are in two tensors. */
const EXPERTS: Tensors = {
  'model.embed_tokens.weight': random([10, 6], 1),
  'model.layers.0.self_attn.q_proj.weight': random([6, 6], 2),
  ...Object.fromEntries(
    [0, 1, 2].flatMap((expert) =>
      ['gate_proj', 'up_proj', 'down_proj'].map((name, i) => [
        `model.layers.0.mlp.experts.${expert}.${name}.weight`,
        random(i === 2 ? [6, 4] : [4, 6], 10 + 3 * expert + i),
      ]),
    ),
  ),
  'model.layers.0.mlp.gate.weight': random([3, 6], 3),
  'model.layers.0.mlp.shared_expert.gate_proj.weight': random([5, 6], 4),
  'model.layers.0.mlp.shared_expert.up_proj.weight': random([5, 6], 5),
  'model.layers.0.mlp.shared_expert.down_proj.weight': random([6, 5], 6),
  'model.layers.0.mlp.shared_expert_gate.weight': random([1, 6], 7),
  'lm_head.weight': random([10, 6], 8),
}
const QWEN = {
  ...{ architectures: ['Qwen2MoeForCausalLM'], model_type: 'qwen2_moe', num_experts: 3, hidden_size: 6 },
  ...{ tie_word_embeddings: false, vocab_size: 10 },
}

test('experts are parameters with the names of transformers 5, each with factors of its own', () =>
  inFolder(async (folder) => {
    const tuned = retuned(EXPERTS, 60)
    const made = await extracted(folder, EXPERTS, tuned, 'sv_epsilon: 0', QWEN)
    assert.equal(codesOf(made.diagnostics), ['other-layout'])
    assert.match(made.diagnostics[0]!.message, 'qwen2-moe/transformers-5')
    assert.equal(made.config.target_modules, ['embed_tokens', 'lm_head', 'q_proj', 'shared_expert_gate'])
    assert.equal(made.config.target_parameters, [
      ...['down_proj.weight', 'experts.down_proj', 'experts.gate_up_proj'],
      ...['gate.weight', 'gate_proj.weight', 'up_proj.weight'],
    ])
    const adapter = floatsOf(folder, 'adapter')
    // As PEFT computes it: A [experts · rank, inputs], B [outputs, rank · experts], the experts of one rank side by side.
    const experts = 'base_model.model.model.layers.0.mlp.experts'
    for (const [level, columns, rows, matrices] of [
      ['.base_layer', 6, 8, ['gate_proj', 'up_proj']],
      ['', 4, 6, ['down_proj']],
    ] as const) {
      const [a, b] = ['A', 'B'].map((factor) => adapter.get(`${experts}${level}.lora_${factor}.weight`)!)
      const rank = a!.length / (3 * columns)
      const scale = level === '' ? made.config.alpha_pattern['model.layers.0.mlp.experts.down_proj'] / rank : 1
      for (let expert = 0; expert < 3; expert++) {
        const differences = matrices.flatMap((name) => {
          const full = `model.layers.0.mlp.experts.${expert}.${name}.weight`
          return f32Of(tuned[full]!).map((value, i) => value - f32Of(EXPERTS[full]!)[i]!)
        })
        for (const [at, wanted] of differences.flatMap((part) => [...part]).entries()) {
          const [row, column] = [Math.floor(at / columns), at % columns]
          assert.ok(row < rows)
          let sum = 0
          for (let r = 0; r < rank; r++)
            sum += b![row * rank * 3 + r * 3 + expert]! * a![(expert * rank + r) * columns + column]!
          assert.ok(Math.abs(scale * sum - wanted) < 1e-4, `${expert} ${row} ${column}`)
        }
      }
    }
    const result = await applied(folder)
    for (const [name, tensor] of Object.entries(tuned))
      for (const [at, value] of f32Of(tensor).entries())
        assert.ok(Math.abs(result.get(name)![at]! - value) < 1e-4, name)
  }))

test('names: stored keeps the names of the files; filters match them in both cases', () =>
  inFolder(async (folder) => {
    const tuned = retuned(EXPERTS, 60)
    const one = 'exclude: ["**.experts.1.**"]'
    const stored = await extracted(inside(folder, 'a'), EXPERTS, tuned, `rank: 2, names: stored, ${one}`, QWEN)
    assert.equal(codesOf(stored.diagnostics), [])
    assert.is(stored.names.filter((name) => /experts\.[02]\./.test(name)).length, 12)
    const all = await extracted(
      inside(folder, 'b'),
      EXPERTS,
      tuned,
      'rank: 2, exclude: ["**.experts.*.down_proj.**"]',
      QWEN,
    )
    assert.ok(all.names.includes('base_model.model.model.layers.0.mlp.experts.lora_A.weight'))
    assert.not(all.config.target_parameters.includes('experts.down_proj'))
    const [fault] = await refused(inside(folder, 'c'), tuned, `rank: 2, ${one}`, EXPERTS, QWEN)
    assert.is(fault?.code, 'tensor-mismatch')
    assert.match(fault!.message, 'take only some parts of model.layers.0.mlp.experts.down_proj')
  }))

test('what PEFT can’t compute with has no factors: weights that networks read themselves, and shared embeddings', () =>
  inFolder(async (folder) => {
    const base: Tensors = {
      'model.shared.weight': random([10, 6], 1),
      'model.encoder.embed_positions.weight': random([8, 6], 2),
      'model.encoder.layers.0.fc1.weight': random([8, 6], 3),
      'model.mixer.A_log': random([6, 6], 4),
      'model.mixer.dt_proj.weight': random([6, 2], 5),
      'model.attention.in_proj_weight': random([18, 6], 6),
      'model.attention.out_proj.weight': random([6, 6], 7),
      'model.up.weight': random([4, 6, 2, 2], 8),
      'model.up.bias': random([6], 9),
    }
    const tuned = retuned(base, 60)
    const config = { model_type: 'bart', architectures: ['BartForConditionalGeneration'], is_encoder_decoder: true }
    const made = await extracted(folder, base, tuned, 'rank: 2', config)
    assert.equal([made.config.target_modules, made.config.task_type], [['fc1'], null])
    const { left } = json(folder, 'adapter/lineage.json').steps.adapter as ExtractRecord
    assert.match(left!['model.shared.weight']!, 'encoder and decoder')
    for (const name of ['encoder.embed_positions', 'mixer.dt_proj', 'attention.out_proj', 'up'])
      assert.match(left![`model.${name}.weight`]!, 'no low-rank form: modules_to_save')
  }))

test('a module with others inside is not saved because of its own bias', () =>
  inFolder(async (folder) => {
    const base: Tensors = {
      'bert.encoder.layer.0.dense.weight': random([6, 6], 1),
      'cls.predictions.bias': random([10], 2),
      'cls.predictions.transform.dense.weight': random([6, 6], 3),
      'cls.predictions.transform.LayerNorm.weight': random([6], 4),
    }
    const tuned = retuned(base, 60)
    const made = await extracted(folder, base, tuned, 'rank: 2, modules_to_save: true', { model_type: 'bert' })
    assert.equal(made.config.modules_to_save, ['cls.predictions.transform.LayerNorm'])
    const { left } = json(folder, 'adapter/lineage.json').steps.adapter as ExtractRecord
    assert.equal(Object.keys(left!), ['cls.predictions.bias'])
  }))

test('a head that is stored beside the embedding that it is: PEFT would change one tensor twice', () =>
  inFolder(async (folder) => {
    const config = { model_type: 'llama', architectures: ['LlamaForCausalLM'], tie_word_embeddings: true }
    const tuned = retuned(BASE, 20)
    const factors = await extracted(inside(folder, 'a'), BASE, tuned, 'rank: 2', config)
    assert.equal(codesOf(factors.diagnostics), ['tied-embedding'])
    assert.match(factors.diagnostics[0]!.hint!, "modules_to_save: ['model.embed_tokens'] saves both whole")
    assert.not.ok(factors.names.some((name) => name.includes('lm_head')))
    const own = inside(folder, 'b')
    const whole = await extracted(own, BASE, tuned, 'rank: 2, modules_to_save: [embed_tokens]', config)
    assert.equal(whole.config.modules_to_save, ['lm_head', 'model.embed_tokens'])
    const { left } = json(own, 'adapter/lineage.json').steps.adapter as ExtractRecord
    assert.not('lm_head.weight' in left!)
  }))

test('modules under other names in memory are saved and applied again', () =>
  inFolder(async (folder) => {
    const base: Tensors = {
      'gpt_neox.embed_in.weight': random([10, 6], 1),
      'gpt_neox.layers.0.mlp.dense_h_to_4h.weight': random([8, 6], 2),
      'embed_out.weight': random([10, 6], 3),
    }
    const tuned = retuned(base, 60)
    const config = { model_type: 'gpt_neox', architectures: ['GPTNeoXForCausalLM'], tie_word_embeddings: false }
    const made = await extracted(folder, base, tuned, 'rank: 6, modules_to_save: [embed_out]', config)
    assert.equal(made.config.modules_to_save, ['lm_head'])
    const result = await applied(folder)
    assert.equal(result.get('embed_out.weight'), [...f32Of(tuned['embed_out.weight']!)])
  }))

test('faults of modules_to_save', () =>
  inFolder(async (folder) => {
    const tuned = { ...BASE, 'model.norm.weight': random([6], 50), 'model.layers.0.up_proj.weight': random([8, 6], 40) }
    const [unknown] = await refused(inside(folder, 'a'), tuned, 'rank: 2, modules_to_save: [lm_haed]')
    assert.is(unknown?.code, 'no-match')
    assert.match(unknown!.hint!, 'lm_head')
    const names = { ...BASE, proj: random([3], 1), 'up_proj.weight': random([4, 4], 7) }
    const other = { ...names, 'up_proj.weight': random([4, 4], 8), 'model.layers.0.up_proj.weight': random([8, 6], 40) }
    const settings = 'rank: 2, modules_to_save: [/^up_proj$/]'
    const [ambiguous] = await refused(inside(folder, 'b'), other, settings, names)
    assert.is(ambiguous?.code, 'adapter-saves')
  }))

test.run()
