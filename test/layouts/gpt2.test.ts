/** GPT-2 with the weights of Conv1D and of nn.Linear: merges of both are those in one layout, bit by bit. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bf16, inFolder, numbers, type RawTensor, safetensors } from '../support/files.js'
import { opened, readTensors } from '../support/layouts.js'
import { fixture, terge } from '../support/terge.js'

const CONV1D = path.join(fixture('layouts'), 'gpt2_conv1d/fused')
const TURNED = /\.(c_attn|c_proj|c_fc)\.weight$/

/** The matrix [columns, rows], of 2 bytes per element. */
function turned({ dtype, shape, bytes }: RawTensor): RawTensor {
  const [rows, columns] = shape as [number, number]
  const made = new Uint8Array(bytes.length)
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      made.set(bytes.subarray((row * columns + column) * 2).subarray(0, 2), (column * rows + row) * 2)
  return { dtype, shape: [columns, rows], bytes: made }
}

/** Writes a fine-tune of the fixture in both layouts, as the folders `conv1d` and `linear`, with a configuration or without. */
async function written(folder: string, withConfig: boolean): Promise<void> {
  const model = await opened(CONV1D)
  const own = await readTensors(model, model.tensors)
  let seed = 1
  const tuned = Object.fromEntries(
    Object.entries(own).map(([name, { shape }]) => {
      const count = shape.reduce((product, size) => product * size, 1)
      return [name, bf16(shape, numbers(count, seed++))]
    }),
  )
  const linear = Object.fromEntries(
    Object.entries(tuned).map(([name, one]) => [name, TURNED.test(name) ? turned(one) : one]),
  )
  const base = Object.fromEntries(
    Object.entries(own).map(([name, one]) => [name, TURNED.test(name) ? turned(one) : one]),
  )
  for (const [name, tensors] of Object.entries({ base: own, 'base-linear': base, conv1d: tuned, linear })) {
    mkdirSync(path.join(folder, name))
    writeFileSync(path.join(folder, name, 'model.safetensors'), safetensors(tensors))
    if (withConfig) cpSync(path.join(CONV1D, 'config.json'), path.join(folder, name, 'config.json'))
  }
}

const METHODS = [
  'method: linear, models: [base, tuned], weights: [0.5, 0.5]',
  'method: slerp, models: [base, tuned], parameters: {t: 0.3}',
  'method: ties, base: base, models: [tuned], parameters: {density: 0.5}',
]

async function merged(folder: string, base: string, tuned: string, merge: string): Promise<Buffer> {
  const recipe = `terge: 1\nmodels: {base: ${base}, tuned: ${tuned}}\nmerge: {${merge}}\noutput: out\n`
  writeFileSync(path.join(folder, 'recipe.yaml'), recipe)
  rmSync(path.join(folder, 'out'), { recursive: true, force: true })
  const { code, err } = await terge(['run', 'recipe.yaml'], folder)
  assert.is(code, 0, err)
  return readFileSync(path.join(folder, 'out/model.safetensors'))
}

for (const withConfig of [true, false])
  test(`${withConfig ? 'with' : 'without'} a configuration, merges have the bytes of one layout`, () =>
    inFolder(async (folder) => {
      await written(folder, withConfig)
      // What is recognised does not depend on the method.
      for (const merge of withConfig ? METHODS : METHODS.slice(0, 1)) {
        const one = await merged(folder, 'base', 'conv1d', merge)
        assert.is(Buffer.compare(await merged(folder, 'base', 'linear', merge), one), 0, merge)
        const other = await merged(folder, 'base-linear', 'linear', merge)
        assert.is(Buffer.compare(await merged(folder, 'base-linear', 'conv1d', merge), other), 0, merge)
        assert.not.equal(Buffer.compare(one, other), 0)
      }
    }))

test('a model with layers of both layouts is refused, as the base too', () =>
  inFolder(async (folder) => {
    const [conv1d, linear] = await Promise.all([CONV1D, path.join(CONV1D, '../parts')].map((side) => opened(side)))
    const both = { ...(await readTensors(conv1d!, conv1d!.tensors)) }
    for (const [name, tensor] of Object.entries(await readTensors(linear!, linear!.tensors)))
      if (name.includes('h.1.')) both[name] = tensor
    writeFileSync(path.join(folder, 'both.safetensors'), safetensors(both))
    cpSync(path.join(CONV1D, 'model.safetensors'), path.join(folder, 'conv1d.safetensors'))
    for (const [base, other] of [
      ['both', 'conv1d'],
      ['conv1d', 'both'],
    ]) {
      const args = ['plan', 'recipe.yaml']
      const recipe = `terge: 1\nmodels: {a: ${base}.safetensors, b: ${other}.safetensors}\nmerge: {method: linear, models: [a, b]}\noutput: out.safetensors\n`
      writeFileSync(path.join(folder, 'recipe.yaml'), recipe)
      const { code, err } = await terge(args, folder)
      assert.is(code, 2, base)
      assert.match(err, /layout-misfit.*gpt2\/mixed.* has layers of several layouts/)
    }
  }))

test.run()
