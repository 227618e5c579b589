/** Adapters merged among themselves: what comes out is an adapter that PEFT, and terge, can apply. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inspect } from '../../src/index.js'
import { type Matrix, matrix, stored, writeAdapter } from '../support/adapters.js'
import { inFolder, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

const P = 'base_model.model.'
const SHAPES = { 'l.0.q': [12, 10], 'l.0.k': [6, 10] } as const

/** Factors by module, the tensors under PEFT's names. */
function adapter(
  folder: string,
  seed: number,
  config: Record<string, unknown>,
  { rank = 4, infix = '', prefix = P } = {},
) {
  const factors = new Map<string, { a: Matrix; b: Matrix }>()
  const tensors = Object.entries(SHAPES).flatMap(([module, [rows, columns]], i) => {
    const [a, b] = [matrix([rank, columns], seed + 2 * i), matrix([rows, rank], seed + 2 * i + 1)]
    factors.set(module, { a, b })
    return [
      [`${prefix}${module}.lora_A.${infix}weight`, stored(a)] as const,
      [`${prefix}${module}.lora_B.${infix}weight`, stored(b)] as const,
    ]
  })
  writeAdapter(folder, Object.fromEntries(tensors), { r: rank, ...config })
  return factors
}

async function factorsOf(folder: string): Promise<Map<string, Float32Array>> {
  const { stored: tensors, files } = await inspect(folder)
  assert.equal(
    files.map(({ name }) => name),
    ['adapter_model.safetensors'],
  )
  const content = readFileSync(files[0]!.path)
  return new Map(
    [...tensors].map(([name, { offset, bytes }]) => [
      name,
      new Float32Array(content.buffer.slice(content.byteOffset + offset, content.byteOffset + offset + bytes)),
    ]),
  )
}

const near = (a: Float32Array, b: readonly number[], what: string): void => {
  assert.is(a.length, b.length)
  a.forEach((x, i) => void assert.ok(Math.abs(x - b[i]!) < 1e-5, `${what} [${i}]: ${x} for ${b[i]}`))
}

test('factor by factor, with what differs in scale folded into B: the base’s configuration holds for the result', () =>
  inFolder(async (folder) => {
    const one = adapter(path.join(folder, 'one'), 1, { lora_alpha: 8, alpha_pattern: { k: 2 } })
    const two = adapter(
      path.join(folder, 'two'),
      20,
      { lora_alpha: 12, use_rslora: true },
      { infix: 'default.', prefix: '' },
    )
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {one: one, two: two}\nmerge: {method: linear, weights: [3, 1]}\noutput: out\n',
    )
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.err, 'warning adapter-factors: terge merges adapters factor by factor')
    const made = await factorsOf(path.join(folder, 'out'))
    assert.is(made.size, 4)
    for (const [module, own] of [
      ['l.0.q', 2],
      ['l.0.k', 0.5],
    ] as const) {
      const [x, y] = [one.get(module)!, two.get(module)!]
      near(
        made.get(`${P}${module}.lora_A.weight`)!,
        Array.from(x.a.values, (v, i) => (3 * v + y.a.values[i]!) / 4),
        'A',
      )
      // The second's scale is 12 / √4.
      near(
        made.get(`${P}${module}.lora_B.weight`)!,
        Array.from(x.b.values, (v, i) => (3 * v + (6 / own) * y.b.values[i]!) / 4),
        'B',
      )
    }
    assert.equal(
      JSON.parse(readFileSync(path.join(folder, 'out/adapter_config.json'), 'utf8')),
      JSON.parse(readFileSync(path.join(folder, 'one/adapter_config.json'), 'utf8')),
    )
    assert.is((await terge(['verify', 'out/lineage.json', '--reproduce'], folder)).code, 0)
    const card = readFileSync(path.join(folder, 'out/README.md'), 'utf8')
    assert.match(card, '---\nlibrary_name: peft\ntags: [lora, merge, terge]\n---\n')
    assert.match(card, 'Merged with terge')
    // The result is an adapter that a model takes on.
    writeModel(
      path.join(folder, 'base.safetensors'),
      Object.fromEntries(Object.entries(SHAPES).map(([m, shape]) => [`${m}.weight`, stored(matrix(shape, 9))])),
    )
    const applied = await terge(['merge', 'base.safetensors', 'base.safetensors+out', '-o', 'm.safetensors'], folder)
    assert.is(applied.code, 0, applied.err)
  }))

test('every result has the scale of its own configuration, or the recipe is refused', () =>
  inFolder(async (folder) => {
    const all = new Map(
      [8, 12, 8].map((lora_alpha, i) => {
        const name = ['one', 'two', 'three'][i]!
        return [name, adapter(path.join(folder, name), 1 + 20 * i, { lora_alpha })] as const
      }),
    )
    const four = adapter(path.join(folder, 'four'), 90, { lora_alpha: 4 })
    const write = (steps: string, outputs: string) =>
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {one: one, two: two, three: three, four: four}\nsteps:\n${steps}outputs: [${outputs}]\n`,
      )
    const m = '  m: {merge: {method: linear, base: one, models: [one, three]}}\n'
    const n = (models: string) => `  n: {merge: {method: linear, base: two, models: [${models}]}}\n`
    // What scales alike may go into both.
    write(m + n('two, four'), '{from: m, path: m}, {from: n, path: n}, {from: three, path: t}')
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    const made = await factorsOf(path.join(folder, 'n'))
    const [x, y] = [all.get('two')!.get('l.0.q')!, four.get('l.0.q')!]
    near(
      made.get(`${P}l.0.q.lora_B.weight`)!,
      Array.from(x.b.values, (v, i) => (v + y.b.values[i]! / 3) / 2),
      'B',
    )
    for (const [models, outputs] of [
      ['two, one', '{from: m, path: a}, {from: n, path: b}'],
      ['two, one', '{from: one, path: a}, {from: n, path: b}'],
    ] as const) {
      write(m + n(models), outputs)
      const refused = await terge(['validate', 'r.yml'], folder)
      assert.is(refused.code, 2)
      assert.match(
        refused.err,
        /r\.yml:2:15: error adapter-origins: one: it is used in results with the configurations of one and of two, which scale/,
      )
    }
  }))

test('ranks that differ, modules that the base lacks, adapters beside models, a scale of nothing', () =>
  inFolder(async (folder) => {
    adapter(path.join(folder, 'one'), 1, { lora_alpha: 8 })
    adapter(path.join(folder, 'low'), 20, { lora_alpha: 8 }, { rank: 2 })
    adapter(path.join(folder, 'none'), 30, { lora_alpha: 0 })
    adapter(path.join(folder, 'dora'), 40, { lora_alpha: 8, use_dora: true })
    const bias = { [`${P}l.0.q.lora_B.bias`]: stored(matrix([12], 1)) }
    for (const [name, lora_alpha] of [
      ['biased', 8],
      ['unscaled', 0],
    ] as const)
      writeAdapter(
        path.join(folder, name),
        {
          ...bias,
          [`${P}l.0.k.lora_A.weight`]: stored(matrix([4, 10], 1)),
          [`${P}l.0.k.lora_B.weight`]: stored(matrix([6, 4], 1)),
        },
        { r: 4, lora_alpha, alpha_pattern: { k: 4 } },
      )
    writeAdapter(
      path.join(folder, 'more'),
      {
        [`${P}x.lora_A.weight`]: stored(matrix([4, 3], 1)),
        [`${P}x.lora_B.weight`]: stored(matrix([3, 4], 1)),
        [`${P}l.0.q.lora_A.weight`]: stored(matrix([4, 10], 1)),
        [`${P}l.0.q.lora_B.weight`]: stored(matrix([12, 4], 1)),
      },
      { r: 4, lora_alpha: 4 },
    )
    writeModel(path.join(folder, 'base.safetensors'), { 'l.0.q.weight': stored(matrix([12, 10], 9)) })
    const told = async (models: string) => {
      writeFileSync(path.join(folder, 'r.yml'), `terge: 1\nmodels: {${models}}\nmerge: {method: linear}\noutput: out\n`)
      return (await terge(['validate', 'r.yml'], folder)).err + (await terge(['validate', 'r.yml'], folder)).out
    }
    assert.match(
      await told('a: one, b: low'),
      'warning adapter-ranks: b: l.0.k has rank 2, but rank 4 in the base adapter: terge skips it (and 1 more)',
    )
    assert.match(
      await told('a: one, b: more'),
      'warning adapter-modules: b: it changes 1 module that the base adapter does not change, such as x',
    )
    assert.match(
      await told('a: none, b: one'),
      'error adapter-scale: b: l.0.k has scale 2, but scale 0 in the base adapter',
    )
    assert.match(
      await told('a: unscaled, b: biased'),
      'error adapter-scale: b: l.0.q has scale 2, but scale 0 in the base adapter',
    )
    assert.match(await told('a: one, b: dora'), 'error adapter-arithmetic: b: the adapter uses DoRA')
    assert.match(await told('a: one, b: base.safetensors'), "error adapter-alone: 'a' is an adapter and 'b' is a model")
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
