/** Adapters merged among themselves: what comes out is an adapter that PEFT, and terge, can apply. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { matrix, stored, writeAdapter } from '../support/adapters.js'
import { inFolder, writeModel } from '../support/files.js'
import { distance, tensorsOf } from '../support/lowRank.js'
import { terge } from '../support/terge.js'

const P = 'base_model.model.'
const SHAPES = { 'l.0.q': [12, 10], 'l.0.k': [6, 10] } as const

/** The tensors under PEFT's names. */
function adapter(
  folder: string,
  seed: number,
  config: Record<string, unknown>,
  { rank = 4, infix = '', prefix = P } = {},
) {
  const tensors = Object.entries(SHAPES).flatMap(([module, [rows, columns]], i) => {
    const [a, b] = [matrix([rank, columns], seed + 2 * i), matrix([rows, rank], seed + 2 * i + 1)]
    return [
      [`${prefix}${module}.lora_A.${infix}weight`, stored(a)] as const,
      [`${prefix}${module}.lora_B.${infix}weight`, stored(b)] as const,
    ]
  })
  writeAdapter(folder, Object.fromEntries(tensors), { r: rank, ...config })
}

test('ranks, scales and prefixes may differ; the result applies to a model', () =>
  inFolder(async (folder) => {
    adapter(path.join(folder, 'one'), 1, { lora_alpha: 8, alpha_pattern: { k: 2 } })
    adapter(
      path.join(folder, 'two'),
      20,
      { lora_alpha: 12, use_rslora: true },
      { rank: 2, infix: 'default.', prefix: '' },
    )
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {one: one, two: two}\nmerge: {method: linear, weights: [3, 1]}\noutput: out\n',
    )
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.err, "warning adapter-factors: 'merge' merges what the adapters do, exactly")
    const { r, rank_pattern, use_rslora } = JSON.parse(
      readFileSync(path.join(folder, 'out/adapter_config.json'), 'utf8'),
    )
    assert.equal([r, rank_pattern, use_rslora], [6, {}, false])
    assert.is((await terge(['verify', 'out/lineage.json', '--reproduce'], folder)).code, 0)
    const card = readFileSync(path.join(folder, 'out/README.md'), 'utf8')
    assert.match(card, '---\nlibrary_name: peft\ntags: [lora, merge, terge]\n---\n')
    assert.match(card, 'Merged with terge')
    // The same as applying both and merging the models.
    writeModel(
      path.join(folder, 'base.safetensors'),
      Object.fromEntries(Object.entries(SHAPES).map(([m, shape]) => [`${m}.weight`, stored(matrix(shape, 9))])),
    )
    writeFileSync(
      path.join(folder, 'm.yml'),
      'terge: 1\nmodels: {one: {path: base.safetensors, lora: one}, two: {path: base.safetensors, lora: two, prefix: ""}}\nmerge: {method: linear, weights: [3, 1]}\noutput: m.safetensors\n'.replace(
        ', prefix: ""',
        '',
      ),
    )
    const models = await terge(['run', 'm.yml'], folder)
    assert.is(models.code, 0, models.err)
    const applied = await terge(
      ['merge', 'base.safetensors+out', '--method', 'passthrough', '-o', 'a.safetensors'],
      folder,
    )
    assert.is(applied.code, 0, applied.err)
    const [made, wanted] = [
      await tensorsOf(path.join(folder, 'a.safetensors')),
      await tensorsOf(path.join(folder, 'm.safetensors')),
    ]
    for (const [name, { values }] of wanted) assert.ok(distance(made.get(name)!.values, values) < 1e-6, name)
  }))

test('adapters beside models, adapters that cannot be read, an adapter in a single file', () =>
  inFolder(async (folder) => {
    adapter(path.join(folder, 'one'), 1, { lora_alpha: 8 })
    adapter(path.join(folder, 'pissa'), 40, { lora_alpha: 8, init_lora_weights: 'corda' })
    writeModel(path.join(folder, 'base.safetensors'), { 'l.0.q.weight': stored(matrix([12, 10], 9)) })
    const told = async (models: string, method = 'linear') => {
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {${models}}\nmerge: {method: ${method}}\noutput: out\n`,
      )
      const { err, out } = await terge(['validate', 'r.yml'], folder)
      return err + out
    }
    assert.match(
      await told('a: one, b: pissa'),
      'error adapter-arithmetic: b: the adapter uses init_lora_weights: corda',
    )
    assert.match(await told('a: one, b: base.safetensors'), "error adapter-alone: 'a' is an adapter and 'b' is a model")
    assert.match(await told('a: one, b: base.safetensors', 'ties'), 'error missing-base')
    writeFileSync(
      path.join(folder, 'bare.safetensors'),
      readFileSync(path.join(folder, 'one/adapter_model.safetensors')),
    )
    assert.match(
      await told('a: bare.safetensors, b: bare.safetensors'),
      "error no-adapter: 'a' has the factors of an adapter of PEFT but no adapter_config.json",
    )
    assert.match(await told('a: one, b: one', 'nearswap, parameters: {t: 1}'), 'error missing-base')
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {a: one, b: one}\nmerge: {method: linear}\noutput: out.safetensors\n',
    )
    assert.match(
      (await terge(['validate', 'r.yml'], folder)).err,
      'warning adapter-config: an adapter in a single file',
    )
  }))

test('inspect shows rank, alpha and targets', () =>
  inFolder(async (folder) => {
    adapter(path.join(folder, 'one'), 1, {
      lora_alpha: 8,
      target_modules: ['q', 'k'],
      base_model_name_or_path: 'org/base',
    })
    const { out } = await terge(['inspect', 'one'], folder)
    assert.match(out, /adapter +LoRA, rank 4, alpha 8, 2 modules, base model org\/base/)
    const json = JSON.parse((await terge(['inspect', 'one', '--json'], folder)).out)
    assert.equal(json.adapter, {
      type: 'LORA',
      ranks: [4],
      alpha: 8,
      modules: 2,
      targets: ['q', 'k'],
      base: 'org/base',
    })
  }))

test.run()
