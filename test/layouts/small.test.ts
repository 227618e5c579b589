/** Layouts without a fixture of a library, element by element, and quantized experts that become one tensor. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { convertTensors } from '../../src/layouts/convert.js'
import type { Tensors } from '../../src/layouts/types.js'
import { f32, inFolder, type RawTensor, safetensors } from '../support/files.js'
import { layoutOf, opened, readTensors, sameTensors } from '../support/layouts.js'
import { fixture, terge } from '../support/terge.js'

type Stored = Readonly<Record<string, RawTensor>>

/** Numbers from `first` on. */
const from = (first: number, ...shape: readonly number[]): RawTensor =>
  f32(
    shape,
    Array.from({ length: shape.reduce((product, size) => product * size, 1) }, (_, at) => first + at),
  )

/** Tensors in one layout, the same in the other one, and tensors that only the first one has a place for. */
const PAIRS: Readonly<Record<string, readonly [one: Stored, to: string, other: Stored, left?: readonly string[]]>> = {
  'multihead-attention/fused': [
    { 'a.in_proj_weight': from(0, 6, 2), in_proj_bias: from(20, 6), 'a.out_proj.weight': from(30, 2, 2) },
    'multihead-attention/parts',
    {
      ...{ 'a.q_proj.weight': from(0, 2, 2), 'a.k_proj.weight': from(4, 2, 2), 'a.v_proj.weight': from(8, 2, 2) },
      ...{ 'q_proj.bias': from(20, 2), 'k_proj.bias': from(22, 2), 'v_proj.bias': from(24, 2) },
      'a.out_proj.weight': from(30, 2, 2),
    },
  ],
  'gate-up/fused': [
    { 'model.layers.0.mlp.gate_up_proj.weight': from(0, 4, 3), 'model.layers.0.mlp.down_proj.weight': from(50, 3, 2) },
    'gate-up/parts',
    {
      'model.layers.0.mlp.gate_proj.weight': from(0, 2, 3),
      'model.layers.0.mlp.up_proj.weight': from(6, 2, 3),
      'model.layers.0.mlp.down_proj.weight': from(50, 3, 2),
    },
  ],
  'clip-vision/prefixed': [
    {
      'vision_model.embeddings.patch_embedding.weight': from(0, 2, 3, 2, 2),
      'vision_model.encoder.layers.0.self_attn.q_proj.weight': from(30, 2, 2),
      'vision_model.pre_layrnorm.weight': from(40, 2),
      'visual_projection.weight': from(50, 2, 2),
    },
    'clip-vision/plain',
    {
      'embeddings.patch_embedding.weight': from(0, 2, 3, 2, 2),
      'encoder.layers.0.self_attn.q_proj.weight': from(30, 2, 2),
      'pre_layrnorm.weight': from(40, 2),
    },
    ['visual_projection.weight'],
  ],
}

for (const [layout, [one, other, wanted, left = []]] of Object.entries(PAIRS))
  test(`${layout} as ${other}, and back`, () =>
    inFolder(async (folder) => {
      const file = path.join(folder, 'model.safetensors')
      writeFileSync(file, safetensors(one))
      const model = await opened(file)
      const read = (tensors: Tensors, a: string, b: string) => {
        const made = convertTensors(tensors, layoutOf(a).form, layoutOf(b).form, { config: undefined, shapes: tensors })
        assert.equal(made.problems, [])
        return made
      }
      const there = read(model.tensors, layout, other)
      assert.equal(there.left, left)
      sameTensors(await readTensors(model, there.tensors), wanted, other)
      const back = read(there.tensors, other, layout)
      const kept = Object.fromEntries(Object.entries(one).filter(([name]) => !left.includes(name)))
      sameTensors(await readTensors(model, back.tensors), kept, layout)
    }))

/** A weight and its scale. Every byte is a number. */
function inFp8(name: string, { shape }: RawTensor, at: number): (readonly [string, RawTensor])[] {
  const count = shape[0]! * shape[1]!
  const bytes = Uint8Array.from({ length: count }, (_, i) => ((i * 37 + at * 11) % 127) | ((i % 2) << 7))
  return [
    [name, { dtype: 'F8_E4M3', shape, bytes }],
    [`${name}_scale_inv`, f32([1, 1], [1 / (at + 1)])],
  ]
}

test('experts in FP8, one by one, merge with a base that has all of them in one tensor', () =>
  inFolder(async (folder) => {
    const side = (name: string): string => path.join(fixture('layouts'), 'qwen3_moe', name)
    const run = async (name: string, text: string): Promise<string> => {
      writeFileSync(path.join(folder, 'r.yml'), `terge: 1\n${text.replaceAll('OUT', name)}\n`)
      const { code, err } = await terge(['run', 'r.yml'], folder)
      assert.is(code, 0, err)
      return err
    }
    // The same numbers in FP8, and in F32.
    const source = await opened(side('released'))
    const stored = Object.entries(await readTensors(source, source.tensors)).flatMap(([name, tensor], at) =>
      name.includes('experts') ? inFp8(name, tensor, at) : [[name, tensor] as const],
    )
    mkdirSync(path.join(folder, 'fp8'))
    writeFileSync(path.join(folder, 'fp8/model.safetensors'), safetensors(Object.fromEntries(stored)))
    const quantization_config = { quant_method: 'fp8', weight_block_size: [128, 128], fmt: 'e4m3' }
    writeFileSync(path.join(folder, 'fp8/config.json'), JSON.stringify({ ...source.config, quantization_config }))
    await run('f32', 'models: {m: fp8}\noutput: {path: OUT, from: m, dtype: f32}')
    const merge = (own: string): string =>
      `models: {base: ${side('v5')}, own: ${own}}\nbase: base\nmerge: {method: linear, models: [base, own], weights: [0.5, 0.5]}\noutput: OUT`
    assert.is((await opened(path.join(folder, 'f32'))).quantized, undefined)
    assert.match(await run('one', merge('fp8')), /warning other-layout/)
    await run('two', merge('f32'))
    const tensorsOf = async (name: string) => {
      const model = await opened(path.join(folder, name))
      return readTensors(model, model.tensors)
    }
    sameTensors(await tensorsOf('one'), await tensorsOf('two'), 'FP8 and F32')
    const fp8 = await opened(path.join(folder, 'fp8'))
    assert.ok([...fp8.quantized!.weights.keys()].some((name) => name.includes('experts')))
  }))

test.run()
