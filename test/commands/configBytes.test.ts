/** JSON files beside weights: what a merge changes in them is changed in place, and every other byte stays. */

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { terge } from '../support/terge.js'
import { matrix, weights, writeFolder } from './families.js'

const CONFIG = `{
    "model_type": "mamba2",
    "rms_norm_eps": 1e-05,
    "factor": 8.0,
    "zero": 0.0,
    "big": 9007199254740993,
    "time_step_limit": [0.0, Infinity],
    "low": -Infinity,
    "none": NaN,
    "name": "caf\\u00e9 \\/",
    "10": 1.0,
    "2": 2.0,
    "text_config": {"rope_theta": 10000.0, "torch_dtype": "float32"},
    "torch_dtype": "float32"
}`

const model = (seed: number, extra: Readonly<Record<string, string | object>> = {}) => ({
  'model.safetensors': weights({ 'model.norm.weight': matrix(seed, 4) }),
  'config.json': CONFIG,
  ...extra,
})

const merge = (folder: string, more: string) => {
  writeFileSync(path.join(folder, 'r.yaml'), `terge: 1\nmodels: {a: a, b: b}\nmerge: {method: linear}\n${more}\n`)
  return terge(['run', 'r.yaml', '--no-sync'], folder)
}

const textOf = (folder: string, name: string): string => readFileSync(path.join(folder, name), 'utf8')

test('another dtype changes the dtypes of a configuration and nothing else', () =>
  inFolder(async (folder) => {
    for (const [name, text] of Object.entries({
      plain: CONFIG,
      windows: `\ufeff${CONFIG.replaceAll('\n', '\r\n')}\r\n`,
    })) {
      writeFolder(path.join(folder, 'a'), { ...model(1), 'config.json': text })
      writeFolder(path.join(folder, 'b'), { ...model(2), 'config.json': text })
      const { code, err } = await merge(folder, `output: {path: ${name}, dtype: bfloat16}`)
      assert.is(code, 0, err)
      assert.is(textOf(folder, `${name}/config.json`), text.replaceAll('"float32"', '"bfloat16"'))
    }
  }))

test('a configuration without a dtype gets one behind its other keys', () =>
  inFolder(async (folder) => {
    const text = CONFIG.replaceAll(/,\s*"torch_dtype": "float32"/g, '')
    writeFolder(path.join(folder, 'a'), { ...model(1), 'config.json': text })
    writeFolder(path.join(folder, 'b'), { ...model(2), 'config.json': text })
    const { code, err } = await merge(folder, 'output: {path: o, dtype: float16}')
    assert.is(code, 0, err)
    assert.is(textOf(folder, 'o/config.json'), `${text.slice(0, -2)},\n    "torch_dtype": "float16"\n}`)
  }))

test('a chat template changes nothing else of the tokenizer configuration', () =>
  inFolder(async (folder) => {
    const text = `{
  "model_max_length": 1000000000000000019884624838656,
  "chat_template": "{{ old }}",
  "scale": 1.0,
  "added_tokens_decoder": {"10": {"content": "b"}, "2": {"content": "a"}}
}
`
    writeFolder(path.join(folder, 'a'), model(1, { 'tokenizer_config.json': text }))
    writeFolder(path.join(folder, 'b'), model(2))
    const { code, err } = await merge(folder, 'chat_template: "{{ new }}"\noutput: o')
    assert.is(code, 0, err)
    assert.is(textOf(folder, 'o/tokenizer_config.json'), text.replace('{{ old }}', '{{ new }}'))
  }))

test('a stack changes the number of layers and nothing else', () =>
  inFolder(async (folder) => {
    const text = `{"num_hidden_layers": 2, "rope_theta": 10000.0, "layer_types": ["x", "y"], "scales": [1.0, 2.0, 8.0]}`
    writeFolder(path.join(folder, 'a'), {
      'model.safetensors': weights({
        'model.layers.0.w.weight': matrix(1, 4),
        'model.layers.1.w.weight': matrix(2, 4),
      }),
      'config.json': text,
    })
    writeFileSync(
      path.join(folder, 'r.yaml'),
      'terge: 1\nmodels: {a: a}\nsteps: {s: {stack: [{model: a, layers: [0, 2]}, {model: a, layers: [1, 2]}]}}\noutput: {from: s, path: o}\n',
    )
    const { code, err } = await terge(['run', 'r.yaml', '--no-sync'], folder)
    assert.is(code, 0, err)
    assert.is(
      textOf(folder, 'o/config.json'),
      text.replace('layers": 2', 'layers": 3').replace('["x", "y"]', '["x", "y", "y"]'),
    )
  }))

test('configurations of modules keep their bytes', () =>
  inFolder(async (folder) => {
    for (const [name, seed] of [
      ['a', 1],
      ['b', 2],
    ] as const)
      writeFolder(path.join(folder, name), {
        'model_index.json': { _class_name: 'P', unet: ['diffusers', 'UNet'] },
        'unet/config.json': CONFIG,
        'unet/diffusion_pytorch_model.safetensors': weights({ 'x.weight': matrix(seed, 4) }),
      })
    const { code, err } = await merge(folder, 'output: {path: o, dtype: bfloat16}')
    assert.is(code, 0, err)
    assert.is(textOf(folder, 'o/unet/config.json'), CONFIG.replaceAll('"float32"', '"bfloat16"'))
  }))

test('a configuration with labels for 22,000 classes', () =>
  inFolder(async (folder) => {
    const labels = Array.from({ length: 22_000 }, (_, id) => `"${id}": "class ${id}, with a label of usual length"`)
    const text = `{"id2label": {${labels.join(', ')}}, "eps": 1.0, "torch_dtype": "float32"}`
    assert.ok(text.length > 2 ** 20)
    writeFolder(path.join(folder, 'a'), { ...model(1), 'config.json': text })
    writeFolder(path.join(folder, 'b'), { ...model(2), 'config.json': text })
    const { code, err } = await merge(folder, 'output: {path: o, dtype: bfloat16}')
    assert.is(code, 0, err)
    assert.is(textOf(folder, 'o/config.json'), text.replace('"float32"', '"bfloat16"'))
  }))

test('configurations that fail early: nested too deeply, too many values, not UTF-8', () =>
  inFolder(async (folder) => {
    writeFolder(path.join(folder, 'b'), model(2))
    for (const text of [
      '['.repeat(63 * 2 ** 20),
      `{"a": [${'0,'.repeat(3e6)}0]}`,
      Buffer.from('{"a": "\xff"}', 'latin1'),
    ]) {
      writeFolder(path.join(folder, 'a'), { ...model(1), 'config.json': text })
      const { code, err } = await merge(folder, 'output: o')
      assert.is(code, 2)
      assert.match(err, /error bad-config: a\/config\.json: (nested deeper|more than|not UTF-8)/)
    }
  }))

test.run()
