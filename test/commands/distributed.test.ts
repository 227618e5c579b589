/** Distributed checkpoints and models with one file per rank, through the whole command. */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../src/checkpoints/open.js'
import { f32, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const CASES = ['one', 'two', 'verl']
const EXPECTED = fixture('distributed/expected.safetensors')

/** Two fine-tunes of the network of the fixtures, whole. */
async function others(folder: string): Promise<void> {
  const { tensors } = await openCheckpoint('e', EXPECTED)
  for (const [seed, name] of ['x', 'y'].entries()) {
    const made: Record<string, RawTensor> = {}
    for (const [tensor, { shape }] of tensors) {
      const count = shape.reduce((product, size) => product * size, 1)
      made[tensor] = f32(shape, numbers(count, 100 * seed + Object.keys(made).length))
    }
    writeModel(path.join(folder, `${name}.safetensors`), made)
  }
}

const METHODS = [
  '{method: linear, models: [m, x], weights: {m: 0.3, x: 0.7}}',
  '{method: slerp, models: [m, x], parameters: {t: 0.4}}',
  '{method: ties, base: m, models: [x, y], parameters: {density: 0.6}}',
  '{method: dare_ties, base: x, models: [m, y], parameters: {density: 0.5}}',
  '{method: model_stock, base: x, models: [m, y]}',
  '{method: passthrough, models: [m]}',
]

test('a merge has the same bytes wherever the tensors of a model are stored', () =>
  inFolder(async (folder) => {
    await others(folder)
    const merged = async (model: string, method: string) => {
      const recipe = `terge: 1\nmodels: {m: ${model}, x: x.safetensors, y: y.safetensors}\nmerge: ${method}\noutput: o.safetensors\n`
      writeFileSync(path.join(folder, 'r.yml'), recipe)
      const { code, err } = await terge(['run', 'r.yml', '--force'], folder)
      assert.is(code, 0, err)
      return readFileSync(path.join(folder, 'o.safetensors'))
    }
    for (const method of METHODS) {
      const wanted = await merged(EXPECTED, method)
      for (const name of CASES) {
        const made = await merged(fixture(`distributed/${name}`), method)
        // The header has the digest of the recipe.
        const data = (file: Buffer) => file.subarray(8 + Number(file.readBigUInt64LE(0)))
        assert.ok(data(made).equals(data(wanted)), `${name}: ${method}`)
      }
    }
  }))

test('warnings, the lineage, verify and lock name the files', () =>
  inFolder(async (folder) => {
    for (const name of ['one', 'verl'])
      cpSync(fixture(`distributed/${name}`), path.join(folder, name), { recursive: true })
    mkdirSync(path.join(folder, 'verl/huggingface'), { recursive: true })
    writeFileSync(path.join(folder, 'verl/huggingface/generation_config.json'), '{"do_sample": true}')
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {base: ./verl, tuned: ./one}\nbase: base\nmerge: {method: linear}\noutput: ./out\n',
    )
    const planned = await terge(['plan', 'r.yml'], folder)
    const warning = "skips 7 entries that are not tensors of the model: 'optim' (5 entries), 'step', 'note'"
    assert.match(planned.err, warning)
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.err, warning)
    assert.match(readFileSync(path.join(folder, 'out/config.json'), 'utf8'), 'LlamaForCausalLM')
    assert.match(readFileSync(path.join(folder, 'out/generation_config.json'), 'utf8'), 'do_sample')
    const { models } = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
    const files = models.tuned.files as { name: string; digest: string }[]
    assert.equal(
      files.map(({ name }) => name),
      ['.metadata', '__0_0.distcp'],
    )
    for (const { digest } of files) assert.match(digest, /^xxh3t:[0-9a-f]{32}$/)
    assert.is((await terge(['verify', 'out', '--reproduce'], folder)).code, 0)
    assert.is((await terge(['lock', 'r.yml'], folder)).code, 0)
    assert.is((await terge(['run', 'r.yml', '--locked', '--force'], folder)).code, 0)
    assert.is((await terge(['run', 'r.yml', '--resume'], folder)).code, 0)
    // One bit of a weight: the place of lm_head in the file is in nothing but the metadata.
    const { stored } = await openCheckpoint('m', path.join(folder, 'one'))
    const data = readFileSync(path.join(folder, 'one/__0_0.distcp'))
    const { offset } = stored.get('lm_head.weight')!
    data[offset] = data[offset]! ^ 1
    writeFileSync(path.join(folder, 'one/__0_0.distcp'), data)
    const verified = await terge(['verify', 'out'], folder)
    assert.is(verified.code, 1)
    assert.match(verified.out + verified.err, '__0_0.distcp')
    const locked = await terge(['run', 'r.yml', '--locked', '--force'], folder)
    assert.is(locked.code, 1)
    assert.match(locked.err, 'tuned: __0_0.distcp differs from the lock')
  }))

test('inspect names what is skipped, and diff compares with whole models', async () => {
  const { out } = await terge(['inspect', fixture('distributed/one')])
  assert.match(out, "skipped     'optim' (5 entries), 'step', 'note'")
  assert.match(out, 'F32         12 tensors, 4.76 kB')
  const listed = JSON.parse((await terge(['inspect', fixture('distributed/two'), '--json'])).out)
  assert.equal([listed.tensors, listed.dtypes.F32.tensors, listed.list[0].bytes], [12, 12, 680])
  const compared = await terge(['diff', fixture('distributed/two'), EXPECTED])
  assert.is(compared.code, 0, compared.err)
  assert.match(compared.out, 'all equal: 12 tensors')
})

test('a base without configuration makes an output without one', () =>
  inFolder(async (folder) => {
    const recipe = `terge: 1\nmodels: {m: ${fixture('distributed/two')}}\nmerge: {method: passthrough, models: [m]}\noutput: ./out\n`
    writeFileSync(path.join(folder, 'r.yml'), recipe)
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.not(ran.err.includes('warning'), ran.err)
    assert.not(existsSync(path.join(folder, 'out/config.json')))
  }))

test.run()
