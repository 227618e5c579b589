/** Quantized models in steps, as copies and as results: what is written, what stays, and what is refused. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, numbers, type RawTensor, raw, tensorsIn, tensorsOf, writeModel } from '../support/files.js'
import { floatsOf, PACKED, unquantized, wantedOf } from '../support/quantized.js'
import { terge } from '../support/terge.js'
import { jsonOf, writeFolder } from './families.js'

const run = (folder: string, text: string, ...flags: string[]) => {
  writeFileSync(path.join(folder, 'r.yaml'), `terge: 1\n${text}\n`)
  return terge(['run', 'r.yaml', '--no-sync', ...flags], folder)
}
const at = (model: string): string => path.join(PACKED, model)

test('copies of quantized weights stay as they are stored, with their configuration and files', () =>
  inFolder(async (folder) => {
    for (const model of ['gptq4-v1', 'fp8-modelopt', 'fp8-block-bf16', 'nf4-nested']) {
      const { code, err } = await run(
        folder,
        `models: {p: ${at(model)}}\nmerge: {method: passthrough}\noutput: out`,
        '--force',
      )
      assert.is(code, 0, err)
      assert.not.match(err, 'dropped-scales')
      assert.equal(tensorsOf(path.join(folder, 'out')), tensorsOf(at(model)), model)
      assert.equal(jsonOf(path.join(folder, 'out'), 'config.json'), jsonOf(at(model), 'config.json'))
      rmSync(path.join(folder, 'out'), { recursive: true })
    }
    // A stack renames the stored tensors like the weights.
    const stack = 'steps: {s: {stack: [{model: p, layers: [0, 1]}, {model: p, layers: [0, 1]}]}}'
    const { code, err } = await run(folder, `models: {p: ${at('fp8-modelopt')}}\n${stack}\noutput: out`)
    assert.is(code, 0, err)
    const [made, stored] = [tensorsOf(path.join(folder, 'out')), tensorsOf(at('fp8-modelopt'))]
    for (const [name, tensor] of Object.entries(stored))
      for (const layer of [0, 1]) assert.equal(made[name.replace('layers.0', `layers.${layer}`)], tensor, name)
    assert.ok(jsonOf(path.join(folder, 'out'), 'config.json').quantization_config)
  }))

test('a merge with quantized weights is written in the dtype of the configuration, and says what it drops', () =>
  inFolder(async (folder) => {
    const recipe = (model: string) =>
      `models: {p: ${at(model)}}\nmerge: {method: passthrough, parameters: {scale: 0.5}}\noutput: out`
    for (const [model, dtype, dropped] of [
      ['gptq8-v1', 'F16', 'quantize_config.json'],
      ['fp8-modelopt', 'BF16', 'hf_quant_config.json'],
      ['fp8-tensor-scale_inv', 'BF16', 'activation_scale'],
    ] as const) {
      const { code, err } = await run(folder, recipe(model))
      assert.is(code, 0, err)
      assert.match(err, 'warning dropped-scales')
      assert.match(err, dropped)
      const made = tensorsOf(path.join(folder, 'out'))
      for (const name of Object.keys(wantedOf(model))) assert.is(made[name]!.dtype, dtype, name)
      assert.equal(Object.keys(made).sort(), Object.keys(unquantized(model)).sort())
      const lineage = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
      assert.ok(lineage.models.p.quantized.length > 0)
      assert.is((await terge(['verify', 'out'], folder)).code, 0)
      rmSync(path.join(folder, 'out'), { recursive: true })
    }
  }))

test('steps compute with quantized weights as with the same numbers in float32', () =>
  inFolder(async (folder) => {
    const model = 'fp8-block-bf16'
    const { quantization_config: _, ...config } = jsonOf(at(model), 'config.json')
    const plain = unquantized(model)
    const moved = Object.fromEntries(
      Object.entries(plain).map(([name, tensor]): [string, RawTensor] => {
        if (tensor.dtype !== 'F32') return [name, tensor]
        const noise = numbers(floatsOf(tensor).length, name.length)
        return [
          name,
          f32(
            tensor.shape,
            floatsOf(tensor).map((value, i) => value + 0.02 * noise[i]!),
          ),
        ]
      }),
    )
    for (const [name, tensors] of [
      ['q', plain],
      ['b', moved],
    ] as const) {
      writeFolder(path.join(folder, name), { 'config.json': config })
      writeModel(path.join(folder, name, 'model.safetensors'), tensors)
    }
    const recipes = {
      rebasin: 'steps: {r: {rebasin: {model: p, onto: b}}, m: {merge: {method: linear, models: [r, b]}}}',
      extract: 'steps: {e: {extract: {lora: {from: b, base: p, rank: 2}}}}',
      interpolate: 'steps: {i: {interpolate: {from: p, to: b, points: 3}}}',
    }
    for (const [what, recipe] of Object.entries(recipes)) {
      const made = []
      for (const from of [at(model), './q']) {
        const { code, err } = await run(
          folder,
          `models: {p: ${from}, b: ./b}\n${recipe}\noutput: {path: out, dtype: float32}`,
        )
        assert.is(code, 0, `${what}: ${err}`)
        const inside = what === 'interpolate' ? 'out/t-0.500' : 'out'
        const name = what === 'extract' ? 'adapter_model.safetensors' : 'model.safetensors'
        made.push(tensorsIn(readFileSync(path.join(folder, inside, name))))
        rmSync(path.join(folder, 'out'), { recursive: true })
      }
      assert.equal(made[0], made[1], what)
    }
  }))

test('diff compares quantized weights as numbers, inspect lists weights and how they are stored', () =>
  inFolder(async (folder) => {
    const same = await terge(['diff', at('nf4'), at('nf4')], folder)
    assert.match(same.out, 'all equal: 12 tensors')
    const json = JSON.parse((await terge(['inspect', at('awq'), '--json'], folder)).out)
    const weight = json.list.find(({ name }: { name: string }) => name === 'model.layers.0.self_attn.q_proj.weight')
    assert.equal([weight.dtype, weight.shape, weight.format], ['F16', [32, 32], 'AWQ, 4 bits, groups of 32'])
    assert.equal(
      weight.stored.map(({ dtype }: { dtype: string }) => dtype),
      ['I32', 'I32', 'F16'],
    )
    assert.is(json.tensors, 12)
    assert.match((await terge(['inspect', at('mxfp4-gpt-oss')], folder)).out, 'MXFP4, read as BF16')
    // What the numbers are worth does not depend on how they are stored.
    mkdirSync(path.join(folder, 'q'))
    writeModel(path.join(folder, 'q/model.safetensors'), unquantized('awq'))
    const { out } = await terge(['diff', at('awq'), 'q', '--json'], folder)
    for (const { tensor, largest } of JSON.parse(out).tensors) assert.ok(largest === undefined || largest === 0, tensor)
  }))

test('output.quantize writes FP8 as the fixture has it, and reads it again', () =>
  inFolder(async (folder) => {
    const known = tensorsIn(readFileSync(path.join(PACKED, 'quantize.safetensors')))
    const [high, wide] = known.weight!.shape as [number, number]
    const norm = f32([4], [1, 2, 3, 4])
    // The base says which weights are quantized.
    writeFolder(path.join(folder, 'a'), {
      'config.json': {
        torch_dtype: 'bfloat16',
        quantization_config: { quant_method: 'fp8', weight_block_size: [128, 128] },
      },
    })
    writeModel(path.join(folder, 'a/model.safetensors'), {
      'l.weight': raw('F8_E4M3', [high, wide], new Array(high * wide).fill(0)),
      'l.weight_scale_inv': f32([2, 2], [1, 1, 1, 1]),
      'n.weight': norm,
    })
    mkdirSync(path.join(folder, 'b'))
    writeModel(path.join(folder, 'b/model.safetensors'), { 'l.weight': known.weight!, 'n.weight': norm })
    const merge = 'base: a\nmerge: {method: linear, models: [a, b], weights: {a: 0, b: 1}}'
    for (const [quantizer, scale] of [
      ['fp8-block', 'weight_scale_inv'],
      ['fp8-channel', 'weight_scale'],
    ] as const) {
      const { code, err } = await run(
        folder,
        `models: {a: ./a, b: ./b}\n${merge}\noutput: {path: ${quantizer}, quantize: ${quantizer}}`,
      )
      assert.is(code, 0, err)
      const made = tensorsOf(path.join(folder, quantizer))
      assert.equal(made['l.weight'], known[`${quantizer}.weight`])
      assert.equal(made[`l.${scale}`], known[`${quantizer}.${scale}`])
      assert.equal(made['n.weight'], norm)
      assert.is((await terge(['verify', quantizer], folder)).code, 0)
      const config = jsonOf(path.join(folder, quantizer), 'config.json').quantization_config
      if (quantizer === 'fp8-block') {
        assert.equal([config.quant_method, config.weight_block_size], ['fp8', [128, 128]])
        assert.equal([config.modules_to_not_convert, config.ignored_layers], [['n'], ['n']])
      } else
        assert.equal(
          [config.quant_method, config.format, config.ignore],
          ['compressed-tensors', 'float-quantized', ['n']],
        )
      // q · s, in float32.
      const again = await run(
        folder,
        `models: {p: ./${quantizer}}\nmerge: {method: passthrough}\noutput: {path: ${quantizer}-f, dtype: float32}`,
      )
      assert.is(again.code, 0, again.err)
    }
    const single = await run(
      folder,
      `models: {a: ./a, b: ./b}\n${merge}\noutput: {path: o.safetensors, quantize: fp8-block}`,
    )
    assert.is(single.code, 2)
    assert.match(single.err, 'no config.json')
  }))

test('of an unquantized base, embeddings, norms, routers and odd matrices stay whole', () =>
  inFolder(async (folder) => {
    const matrix = (a: number, b: number, seed: number) => f32([a, b], numbers(a * b, seed))
    const tensors = {
      'lm_head.weight': matrix(128, 128, 1),
      'model.embed_tokens.weight': matrix(128, 128, 2),
      'model.layers.0.mlp.gate.weight': matrix(128, 128, 3),
      'model.layers.0.mlp.experts.0.gate_proj.weight': matrix(256, 128, 8),
      'model.layers.0.mlp.experts.0.up_proj.weight': matrix(256, 128, 4),
      'model.layers.0.mlp.experts.0.down_proj.weight': matrix(128, 256, 9),
      'model.layers.0.self_attn.q_proj.weight': matrix(128, 128, 5),
      'model.layers.0.self_attn.k_proj.weight': matrix(64, 128, 6),
      'model.norm.weight': f32([128], numbers(128, 7)),
    }
    writeFolder(path.join(folder, 'a'), { 'config.json': { model_type: 'qwen3_moe' } })
    writeModel(path.join(folder, 'a/model.safetensors'), tensors)
    const { code, err } = await run(
      folder,
      'models: {a: ./a}\nmerge: {method: passthrough}\noutput: {path: out, quantize: fp8-block}',
    )
    assert.is(code, 0, err)
    const made = tensorsOf(path.join(folder, 'out'))
    const fp8 = Object.keys(made).filter((name) => made[name]!.dtype === 'F8_E4M3')
    const experts = ['down', 'gate', 'up'].map((part) => `model.layers.0.mlp.experts.0.${part}_proj.weight`)
    assert.equal(fp8.sort(), [...experts, 'model.layers.0.self_attn.q_proj.weight'])
    assert.equal(jsonOf(path.join(folder, 'out'), 'config.json').quantization_config.modules_to_not_convert, [
      'lm_head',
      'model.embed_tokens',
      'model.layers.0.mlp.gate',
      'model.layers.0.self_attn.k_proj',
      'model.norm',
    ])
    const file = made['model.layers.0.mlp.experts.0.up_proj.weight_scale_inv']!
    assert.equal([file.dtype, file.shape], ['F32', [2, 1]])
  }))

/** A change of a fixture that must be refused, by the error that names it. */
interface Damage {
  readonly model: string
  readonly change: (
    tensors: Record<string, RawTensor>,
    config: { quantization_config: Record<string, unknown> },
  ) => void
  readonly says: readonly string[]
}

const q = 'model.layers.0.self_attn.q_proj'
const replaced = (tensor: RawTensor, index: number, ...bytes: number[]): RawTensor => {
  const changed = tensor.bytes.slice()
  changed.set(bytes, index)
  return { ...tensor, bytes: changed }
}
const NAN = [0, 0, 0xc0, 0x7f]

const DAMAGES: Readonly<Record<string, Damage>> = {
  'a missing scale': {
    model: 'fp8-block-32x64',
    change: (tensors) => delete tensors[`${q}.weight_scale_inv`],
    says: ['error damaged-weights', 'model.safetensors', `${q}.weight is F8_E4M3 and has no ${q}.weight_scale_inv`],
  },
  'an orphan scale': {
    model: 'fp8-block-32x64',
    change: (tensors) => delete tensors[`${q}.weight`],
    says: ['error damaged-weights', `${q}.weight_scale_inv`, 'belongs to no weight'],
  },
  'a wrong block count': {
    model: 'fp8-block-32x64',
    change: (tensors) => {
      tensors[`${q}.weight_scale_inv`] = f32([2, 1], [1, 1])
    },
    says: ['error damaged-weights', 'is [2, 1]', 'needs [1, 1]'],
  },
  'a scale that is not a number': {
    model: 'fp8-block-32x64',
    change: (tensors) => {
      tensors[`${q}.weight_scale_inv`] = replaced(tensors[`${q}.weight_scale_inv`]!, 0, ...NAN)
    },
    says: ['error damaged-weights', `${q}.weight_scale_inv`, 'NaN'],
  },
  'a divisor of 0': {
    model: 'nvfp4-ct',
    change: (tensors) => {
      tensors[`${q}.weight_global_scale`] = f32([1], [0])
    },
    says: ['error damaged-weights', `${q}.weight_global_scale`, 'is 0'],
  },
  'an exponent that is not a number': {
    model: 'mxfp4-ct',
    change: (tensors) => {
      tensors[`${q}.weight_scale`] = replaced(tensors[`${q}.weight_scale`]!, 3, 255)
    },
    says: ['error damaged-weights', `${q}.weight_scale`, 'row 3'],
  },
  'another shape': {
    model: 'int4-ct-group',
    change: (tensors) => {
      tensors[`${q}.weight_shape`] = replaced(tensors[`${q}.weight_shape`]!, 8, 31)
    },
    says: ['error damaged-weights', `${q}.weight_shape`],
  },
  'a group that does not exist': {
    model: 'gptq4-v1-desc_act',
    change: (tensors) => {
      tensors[`${q}.g_idx`] = replaced(tensors[`${q}.g_idx`]!, 0, 9)
    },
    says: ['error damaged-weights', `${q}.g_idx`, 'group 9'],
  },
  'an ambiguous zero point': {
    model: 'gptq4-v1',
    change: (tensors) => {
      tensors[`${q}.qzeros`] = replaced(tensors[`${q}.qzeros`]!, 0, 0xff)
    },
    says: ['error damaged-weights', `${q}.qzeros`, 'zero point of 15'],
  },
  'an unknown method': {
    model: 'awq',
    change: (_, config) => {
      config.quantization_config.quant_method = 'quark'
    },
    says: ['error packed-weights', '"quark", is unsupported'],
  },
  'another AWQ version': {
    model: 'awq',
    change: (_, config) => {
      config.quantization_config.version = 'gemv_fast'
    },
    says: ['error packed-weights', 'its AWQ version is gemv_fast'],
  },
  marlin: {
    model: 'gptq4-v1',
    change: (_, config) => {
      config.quantization_config.checkpoint_format = 'marlin'
    },
    says: ['error packed-weights', 'marlin'],
  },
  transforms: {
    model: 'fp8-ct-channel',
    change: (_, config) => {
      config.quantization_config.transform_config = { config_groups: { u: {} } }
    },
    says: ['error packed-weights', 'transform_config'],
  },
  sparsity: {
    model: 'fp8-ct-channel',
    change: (_, config) => {
      config.quantization_config.sparsity_config = { format: 'sparse-24-bitmask' }
    },
    says: ['error packed-weights', 'sparse-24-bitmask'],
  },
  pre_quant_scale: {
    model: 'nvfp4-modelopt',
    change: (tensors) => {
      tensors[`${q}.pre_quant_scale`] = f32([1], [1])
    },
    says: ['error packed-weights', 'pre_quant_scale'],
  },
  'another order of bytes': {
    model: 'int8-bnb',
    change: (tensors) => {
      tensors[`${q}.weight_format`] = raw('U8', [], [1])
    },
    says: ['error packed-weights', 'weight_format is 1'],
  },
}

for (const [what, { model, change, says }] of Object.entries(DAMAGES))
  test(`refused: ${what}`, () =>
    inFolder(async (folder) => {
      const tensors = tensorsOf(at(model))
      const config = jsonOf(at(model), 'config.json')
      change(tensors, config)
      writeFolder(path.join(folder, 'p'), { 'config.json': config })
      writeModel(path.join(folder, 'p/model.safetensors'), tensors)
      const { code, err } = await run(
        folder,
        'models: {p: ./p}\nmerge: {method: passthrough, parameters: {scale: 2}}\noutput: out',
      )
      assert.is.not(code, 0)
      for (const text of says) assert.match(err, text)
      assert.throws(() => readFileSync(path.join(folder, 'out/config.json')), 'ENOENT')
    }))

test('a scale of 0 gives zeros', () =>
  inFolder(async (folder) => {
    const tensors = tensorsOf(at('nf4'))
    const name = `${q}.weight.absmax`
    tensors[name] = replaced(tensors[name]!, 0, 0, 0, 0, 0)
    writeFolder(path.join(folder, 'p'), { 'config.json': jsonOf(at('nf4'), 'config.json') })
    writeModel(path.join(folder, 'p/model.safetensors'), tensors)
    const { code, err } = await run(
      folder,
      'models: {p: ./p}\nmerge: {method: passthrough}\noutput: {path: out, dtype: float32}',
    )
    assert.is(code, 0, err)
    const values = floatsOf(tensorsOf(path.join(folder, 'out'))[`${q}.weight`]!)
    assert.ok(values.subarray(0, 64).every((value) => value === 0) && values.subarray(64).some((value) => value !== 0))
  }))

test.run()
