/** Rules of a recipe, what is refused, and `terge convert`, `inspect --layout` and `diff` through the real command. */
import { createHash } from 'node:crypto'
import { cpSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, numbers, type RawTensor, safetensors } from '../support/files.js'
import { opened, readTensors, sameTensors } from '../support/layouts.js'
import { fixture, terge } from '../support/terge.js'

type Stored = Readonly<Record<string, RawTensor>>
const values = (shape: readonly number[], seed: number): RawTensor =>
  f32(
    shape,
    numbers(
      shape.reduce((product, size) => product * size, 1),
      seed,
    ),
  )

async function tensorsOf(file: string): Promise<Stored> {
  const model = await opened(file)
  return readTensors(model, model.tensors)
}

const write = (folder: string, name: string, tensors: Stored): void =>
  writeFileSync(path.join(folder, name), safetensors(tensors))

/** Rows of a matrix. */
const rows = ({ shape, bytes }: RawTensor, from: number, to: number): RawTensor => {
  const width = bytes.length / shape[0]!
  return { dtype: 'F32', shape: [to - from, ...shape.slice(1)], bytes: bytes.slice(from * width, to * width) }
}

const RULE = `
      - tensor: "l.{n}.qkv"
        concat: ["l.{n}.q", "l.{n}.k", "l.{n}.v"]
        groups: 2
        sizes: [2, 1, 1]
      - {tensor: "l.{n}.up", stack: "l.{n}.e.{e}.up"}
`

test('rules read both sides: two groups of query, key and value, and a stack', async () =>
  inFolder(async (folder) => {
    const qkv = values([8, 3], 1)
    const [e0, e1] = [values([2, 3], 2), values([2, 3], 3)]
    const part = (...pieces: RawTensor[]): RawTensor => ({
      dtype: 'F32',
      shape: [pieces.reduce((sum, { shape }) => sum + shape[0]!, 0), 3],
      bytes: new Uint8Array(Buffer.concat(pieces.map(({ bytes }) => bytes))),
    })
    const fused = {
      'l.0.qkv': qkv,
      'l.0.up': { dtype: 'F32', shape: [2, 2, 3], bytes: new Uint8Array(Buffer.concat([e0.bytes, e1.bytes])) },
      other: values([2], 4),
    }
    const parts = {
      'l.0.q': part(rows(qkv, 0, 2), rows(qkv, 4, 6)),
      'l.0.k': part(rows(qkv, 2, 3), rows(qkv, 6, 7)),
      'l.0.v': part(rows(qkv, 3, 4), rows(qkv, 7, 8)),
      'l.0.e.0.up': e0,
      'l.0.e.1.up': e1,
      other: fused.other,
    }
    write(folder, 'fused.safetensors', fused)
    write(folder, 'parts.safetensors', parts)
    for (const [from, wanted] of [
      ['fused', parts],
      ['parts', fused],
    ] as const) {
      writeFileSync(
        path.join(folder, 'recipe.yml'),
        `terge: 1\nmodels:\n  m:\n    path: ${from}.safetensors\n    layout:${RULE}output: {path: out-${from}.safetensors, from: m}\n`,
      )
      const { code, err } = await terge(['run', 'recipe.yml'], folder)
      assert.is(code, 0, err)
      sameTensors(await tensorsOf(path.join(folder, `out-${from}.safetensors`)), wanted, from)
    }
  }))

/** The most that a run on one thread needs, as its refusal says. */
const neededBy = async (folder: string, recipe: string): Promise<number> => {
  const { err } = await terge(['plan', recipe, '--threads', '1', '--memory', '1MB'], folder)
  return Number(/this run needs (\d+(?:\.\d+)?) MB/.exec(err)?.[1])
}

test('rows of large transposed matrices that workers keep count as memory', async () =>
  inFolder(async (folder) => {
    for (const [size, more] of [
      [1400, 8],
      [100, 0],
    ] as const) {
      write(folder, 'a.safetensors', { w: values([size, size], 1) })
      write(folder, 'b.safetensors', { v: values([size, size], 2) })
      const needs: number[] = []
      for (const rule of ['is', 'transpose']) {
        const b = `{path: b.safetensors, layout: [{tensor: w, ${rule}: v}]}`
        const text = `terge: 1\nmodels: {a: a.safetensors, b: ${b}}\nmerge: {method: linear}\noutput: ${rule}.safetensors\n`
        writeFileSync(path.join(folder, 'r.yml'), text)
        needs.push(await neededBy(folder, 'r.yml'))
      }
      const [plain, transposed] = needs
      assert.ok(Math.abs(transposed! - plain! - more) <= 2, `${size}: ${plain} MB, and ${transposed} MB transposed`)
    }
  }))

test('workers keep more of matrices with very long rows where the memory of the run allows it', async () =>
  inFolder(async (folder) => {
    const [rows, columns] = [64, 3_000_000]
    for (const [file, name, shape] of [
      ['a', 'w', [rows, columns]],
      ['b', 'v', [columns, rows]],
    ] as const) {
      const bytes = 2 * rows * columns
      const header = JSON.stringify({ [name]: { dtype: 'BF16', shape, data_offsets: [0, bytes] } }).padEnd(96)
      const length = Buffer.alloc(8)
      length.writeBigUInt64LE(BigInt(header.length))
      const where = path.join(folder, `${file}.safetensors`)
      writeFileSync(where, Buffer.concat([length, Buffer.from(header)]))
      // Only headers are read.
      truncateSync(where, 8 + header.length + bytes)
    }
    const b = '{path: b.safetensors, layout: [{tensor: w, transpose: v}]}'
    const text = `terge: 1\nmodels: {a: a.safetensors, b: ${b}}\nmerge: {method: linear}\noutput: x.safetensors\n`
    writeFileSync(path.join(folder, 'r.yml'), text)
    const memoryWith = async (limit: number): Promise<number> => {
      const { out } = await terge(['plan', 'r.yml', '--json', '--threads', '1', '--memory', `${limit}MB`], folder)
      return (JSON.parse(out) as { readonly memory: number }).memory / 1e6
    }
    const [least, more, most] = [await memoryWith(90), await memoryWith(120), await memoryWith(1000)]
    assert.ok(least <= 90 && more > 118 && more <= 120, `${least} MB, ${more} MB`)
    assert.ok(most > 170 && most < 190, `${most} MB`)
  }))

/** By what is wrong: the rule, and the error with its line. */
const WRONG: readonly (readonly [rule: string, error: RegExp])[] = [
  [
    '{tensor: "l.{n}.qkv", concat: ["l.{n}.q", "l.{m}.k"]}',
    /:5:\d+: error bad-pattern: \{m\} in 'l\.\{m\}\.k' has no value/,
  ],
  ['{tensor: "l.{n}.qkv", concat: ["q", "l.{n}.k"]}', /error bad-pattern: 'q' has no \{n\}/],
  ['{tensor: "l.{n}.{n}", is: "l.{n}.k"}', /error bad-pattern: .*\{n\} is in the name twice/],
  ['{tensor: "l.{n}.qkv", stack: "l.{n}.q"}', /error bad-pattern: a stack is over one number .* here are none/],
  ['{tensor: "l.{n}.qkv"}', /error missing-key: this does not say what the tensor is made of/],
  ['{tensor: "l.{n}.qkv", is: "l.{n}.q", transpose: "l.{n}.q"}', /error contradiction: a tensor is made in one way/],
  ['{tensor: "l.{n}.qkv", is: "l.{n}.q", groups: 2}', /error contradiction: 'groups' does not belong to 'is'/],
  [
    '{tensor: "l.{n}.qkv", concat: ["l.{n}.q", "l.{n}.k"], sizes: [1]}',
    /error bad-value: there are 2 parts, but 1 sizes/,
  ],
  ['{concat: ["l.{n}.q"]}', /error missing-key: a rule of a layout needs the tensor/],
  ['{tensor: "x.{n}", is: "y.{n}"}', /error no-match: the rule matches no tensor of m/],
  [
    '{tensor: "l.{n}.qkv", concat: ["l.{n}.q", "l.{n}.k", "l.{n}.v"], axis: 2}',
    /error layout-misfit: m: l\.0\.qkv has the shape \[8,3\], which has no axis 2/,
  ],
  [
    '{tensor: "l.{n}.qkv", concat: ["l.{n}.q", "l.{n}.k", "l.{n}.v"]}',
    /error layout-misfit: m: l\.0\.qkv has the size 8, which is not divisible/,
  ],
  [
    '{tensor: "l.{n}.qkv", concat: ["l.{n}.q", "l.{n}.k"], sizes: [5, 4]}',
    /error layout-misfit: .* its parts are 5 \+ 4/,
  ],
  [
    'mixtral/relesed',
    /error unknown-layout: there is no layout 'mixtral\/relesed'\n.*\n.*\^+\n.*did you mean mixtral\/released/,
  ],
  ['released', /error unknown-layout: 'released' is a layout of several networks/],
  ['mixtral/released', /error layout-misfit: m has no tensor of the layout mixtral\/released/],
]

test('wrong rules and names are errors at their place', async () =>
  inFolder(async (folder) => {
    write(folder, 'm.safetensors', { 'l.0.qkv': values([8, 3], 1) })
    for (const [rule, error] of WRONG) {
      const text = `terge: 1\nmodels:\n  m:\n    path: m.safetensors\n    layout: ${rule}\noutput: {path: out.safetensors, from: m}\n`
      writeFileSync(path.join(folder, 'recipe.yml'), text)
      const { code, err } = await terge(['run', 'recipe.yml'], folder)
      assert.is.not(code, 0, rule)
      assert.match(err, error)
      assert.match(err, /recipe\.yml:\d+:\d+: error/)
    }
    assert.not.ok(existsSync(path.join(folder, 'out.safetensors')))
  }))

const MIXTRAL = path.join(fixture('layouts'), 'mixtral')

test('convert writes the other side and back, with configuration and lineage', async () =>
  inFolder(async (folder) => {
    const there = await terge(
      ['convert', path.join(MIXTRAL, 'released'), '-o', 'fused', '--layout', 'transformers-5'],
      folder,
    )
    assert.is(there.code, 0, there.err)
    sameTensors(await tensorsOf(path.join(folder, 'fused')), await tensorsOf(path.join(MIXTRAL, 'v5')), 'fused')
    const { models } = JSON.parse(readFileSync(path.join(folder, 'fused/lineage.json'), 'utf8'))
    assert.equal(models.released.layouts, ['mixtral/released'])
    assert.equal(models.released.readAs, ['mixtral/transformers-5'])
    const back = await terge(['convert', 'fused', '-o', 'back', '--layout', 'mixtral/released'], folder)
    assert.is(back.code, 0, back.err)
    const bytes = (file: string) => readFileSync(path.join(file, 'model.safetensors'))
    assert.equal(await tensorsOf(path.join(folder, 'back')), await tensorsOf(path.join(MIXTRAL, 'released')))
    assert.is(bytes(path.join(folder, 'back')).length, bytes(path.join(MIXTRAL, 'released')).length)
    const verified = await terge(['verify', 'back'], folder)
    assert.is(verified.code, 0, verified.out + verified.err)
  }))

test('convert: a file without a configuration needs one, or the layout that it has', async () =>
  inFolder(async (folder) => {
    cpSync(path.join(fixture('layouts'), 'phi3/fused/model.safetensors'), path.join(folder, 'phi.safetensors'))
    const target = ['-o', 'parts.safetensors', '--layout', 'phi3/parts']
    const none = await terge(['convert', 'phi.safetensors', ...target], folder)
    assert.match(none.err, /layout-misfit: .*can't be split without num_attention_heads in config\.json/)
    assert.match(none.err, /hint: give its configuration: .*config/)
    const config = path.join(fixture('layouts'), 'phi3/fused/config.json')
    const given = await terge(['convert', 'phi.safetensors', ...target, '--config', config], folder)
    assert.is(given.code, 0, given.err)
    sameTensors(
      await tensorsOf(path.join(folder, 'parts.safetensors')),
      await tensorsOf(path.join(fixture('layouts'), 'phi3/parts')),
      'parts',
    )
    const two = await terge(
      ['convert', path.join(MIXTRAL, 'v5'), '-o', 'x', '--layout', 'released', '--config', config],
      folder,
    )
    assert.match(two.err, /contradiction: --config: the model 'v5' has its own config\.json/)
    const same = await terge(['convert', path.join(MIXTRAL, 'v5'), '-o', 'x', '--layout', 'gpt-oss/parts'], folder)
    assert.match(
      same.err,
      /contradiction: --layout: the configuration of 'v5' says that its layout is mixtral\/transformers-5/,
    )
    assert.not.ok(existsSync(path.join(folder, 'x')))
  }))

test('a configuration that the recipe gives is an input: recorded, locked, and checked again', async () =>
  inFolder(async (folder) => {
    const phi3 = path.join(fixture('layouts'), 'phi3/fused')
    cpSync(path.join(phi3, 'model.safetensors'), path.join(folder, 'phi.safetensors'))
    const text = readFileSync(path.join(phi3, 'config.json'), 'utf8')
    writeFileSync(path.join(folder, 'own.json'), text)
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {phi: {path: phi.safetensors, config: own.json}}\noutput: {path: parts.safetensors, from: phi, layout: phi3/parts}\n',
    )
    const sum = `sha256:${createHash('sha256').update(text).digest('hex')}`
    assert.is((await terge(['lock', 'r.yml'], folder)).code, 0)
    const lock = JSON.parse(readFileSync(path.join(folder, 'r.yml.lock'), 'utf8'))
    assert.equal(lock.models.phi.config, [{ file: 'own.json', sha256: sum }])
    const locked = await terge(['run', 'r.yml', '--locked'], folder)
    assert.is(locked.code, 0, locked.err)
    const { models } = JSON.parse(readFileSync(path.join(folder, 'parts.lineage.json'), 'utf8'))
    assert.equal(models.phi.config, [{ file: 'own.json', sha256: sum }])
    assert.is((await terge(['verify', 'parts.safetensors'], folder)).code, 0)
    assert.is((await terge(['run', 'r.yml', '--resume'], folder)).code, 0)
    writeFileSync(path.join(folder, 'own.json'), `${text}\n`)
    const verified = await terge(['verify', 'parts.safetensors'], folder)
    assert.match(verified.out + verified.err, /error input-digest: own\.json differs from the file that the run read/)
    assert.match(
      (await terge(['run', 'r.yml', '--locked', '--force'], folder)).err,
      /error lock-differs: phi: own\.json differs from the lock/,
    )
    assert.match((await terge(['run', 'r.yml', '--resume'], folder)).err, /its lineage belongs to another recipe/)
  }))

test('the output has the layout that it names, and models of one merge have one layout', async () =>
  inFolder(async (folder) => {
    const models = `terge: 1\nmodels: {base: ${MIXTRAL}/v5, ft: ${MIXTRAL}/released}\nbase: base\n`
    const merge = 'merge: {method: linear, models: [base, ft]}\n'
    writeFileSync(path.join(folder, 'a.yml'), `${models}${merge}output: {path: out, layout: released}\n`)
    const ran = await terge(['run', 'a.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    sameTensors(await tensorsOf(path.join(folder, 'out')), await tensorsOf(path.join(MIXTRAL, 'released')), 'released')
    writeFileSync(
      path.join(folder, 'b.yml'),
      `${models}${merge}outputs: [{path: one, layout: released}, {path: two}]\n`,
    )
    assert.match(
      (await terge(['run', 'b.yml'], folder)).err,
      /error contradiction: the outputs one and two need the same models in different layouts/,
    )
  }))

test('inspect shows layouts and why; diff compares models in two layouts', async () => {
  const shown = await terge(['inspect', path.join(MIXTRAL, 'v5'), '--layout'])
  assert.match(shown.out, /^mixtral\/transformers-5: .*\n {6}certain: model_type is mixtral\n/)
  const llama = await terge(['inspect', path.join(fixture('layouts'), 'phi3/parts'), '--layout'])
  assert.match(
    llama.out,
    /^nothing to convert: terge knows no other layout of the model type llama\n\nthese layouts of other/,
  )
  const json = JSON.parse((await terge(['inspect', path.join(MIXTRAL, 'v5'), '--layout', '--json'])).out)
  assert.equal(
    json.filter((one: { certain: boolean }) => one.certain).map((one: { name: string }) => one.name),
    ['mixtral/transformers-5'],
  )
  assert.is(json.length, 1, 'a known model type rules out networks that share names')
  const all = JSON.parse((await terge(['inspect', '--layouts', '--json'])).out)
  assert.ok(all.some((one: { name: string }) => one.name === 'mixtral/released'))
  assert.match((await terge(['inspect', '--layouts'])).out, /mixtral\/released: one tensor per expert/)
  const diff = await terge(['diff', path.join(MIXTRAL, 'v5'), path.join(MIXTRAL, 'released')])
  assert.match(diff.out, /all equal: 21 tensors/)
})

test.run()
