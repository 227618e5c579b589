/** on_mismatch: crop. What must come out is made by merging models that were cropped by hand. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inspect, type Lineage, plan, run } from '../../src/index.js'
import { METHODS } from '../../src/methods/registry.js'
import { bf16, f32, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

type Tensors = Readonly<Record<string, RawTensor>>

const cut = ({ dtype, shape, bytes }: RawTensor, rows: number): RawTensor => ({
  dtype,
  shape: [rows, ...shape.slice(1)],
  bytes: bytes.subarray(0, (bytes.length / shape[0]!) * rows),
})
const cutAll = (tensors: Tensors, rows: number): Tensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, cut(tensor, rows)]))

async function bytesOf(file: string): Promise<Map<string, Buffer>> {
  const { stored: tensors, files } = await inspect(file)
  const content = readFileSync(file)
  assert.is(files.length, 1)
  return new Map([...tensors].map(([name, { offset, bytes }]) => [name, content.subarray(offset, offset + bytes)]))
}

/** Tensors of a model of so many rows: one in each shape for each rule, as patterns take names. */
const modelOf = (rules: readonly Rule[], rows: number, seed: number): Tensors =>
  Object.fromEntries(
    rules.flatMap(({ name }, index) => [
      [`${name}.embed`, bf16([rows, 24], numbers(rows * 24, seed + 3 * index))],
      [`${name}.bias`, f32([rows], numbers(rows, seed + 3 * index + 1))],
      [`${name}.head`, f32([rows, 3, 5], numbers(rows * 15, seed + 3 * index + 2))],
    ]),
  )

interface Rule {
  readonly name: string
  /** Without braces. */
  readonly settings: string
  /** Who takes part, the base apart. */
  readonly others: readonly string[]
}

/** Runs the rules over models of so many rows, the first the base, and over models that were cut to the rows of all. */
async function compare(
  folder: string,
  rows: Readonly<Record<string, number>>,
  rules: readonly Rule[],
  run: (recipe: string, output: string) => Promise<Lineage>,
): Promise<void> {
  const [base, ...names] = Object.keys(rows)
  const common = Math.min(...Object.values(rows))
  const text = (suffix: string, more: string) => `terge: 1
models: {${[base, ...names].map((name) => `${name}: ${name}${suffix}.safetensors`).join(', ')}}
base: ${base}
merge:
  method: linear${more}
  rules:
${rules.map(({ name, settings }) => `    - {match: "${name}.*", ${settings}}`).join('\n')}
output: o
`
  for (const [index, [name, count]] of Object.entries(rows).entries()) {
    const tensors = modelOf(rules, count, 1000 * index)
    writeModel(path.join(folder, `${name}.safetensors`), tensors)
    writeModel(path.join(folder, `${name}-cut.safetensors`), cutAll(tensors, common))
  }
  writeFileSync(path.join(folder, 'crop.yml'), text('', '\n  on_mismatch: crop'))
  writeFileSync(path.join(folder, 'cut.yml'), text('-cut', ''))
  const lineage = await run('crop.yml', 'crop.safetensors')
  await run('cut.yml', 'cut.safetensors')
  const [got, expected, own] = await Promise.all(
    ['crop', 'cut', base].map((name) => bytesOf(path.join(folder, `${name}.safetensors`))),
  )
  for (const [tensor, bytes] of got!) {
    const { others } = rules.find(({ name }) => tensor.startsWith(`${name}.`))!
    const made = expected!.get(tensor)!
    assert.ok(made.equals(bytes.subarray(0, made.length)), `common rows of ${tensor}`)
    assert.ok(own!.get(tensor)!.subarray(made.length).equals(bytes.subarray(made.length)), `rest of ${tensor}`)
    const { shape, cropped } = lineage.tensors[tensor]!
    assert.is(shape[0], rows[base!])
    assert.equal(cropped, { rows: common, models: others.filter((other) => rows[other] !== rows[base!]) })
  }
}

const rule = (name: string, settings: string, others: readonly string[]): Rule => ({ name, settings, others })

/** More than one tile of embeddings and a boundary that no chunk ends at; and a base with fewer rows. */
for (const rows of [
  { base: 11003, a: 10999, b: 11003 },
  { base: 701, a: 703, b: 999 },
])
  test(`linear, ties, slerp: ${JSON.stringify(rows)}, 1 and 2 threads`, () =>
    inFolder(async (folder) => {
      const rules = [
        rule('average', 'weights: {a: 2}', ['a', 'b']),
        rule('ties', 'method: ties, models: [a, b], parameters: {density: 0.3}', ['a', 'b']),
        rule('slerp', 'method: slerp, models: [base, a], parameters: {t: 0.3}', ['a']),
      ]
      await compare(folder, rows, rules, async (recipe, output) => {
        const made: Buffer[] = []
        for (const [threads, file] of [
          ['2', 'two.safetensors'],
          ['1', output],
        ] as const) {
          const ran = await terge(['run', recipe, '-o', file, '--threads', threads, '--force'], folder)
          assert.is(ran.code, 0, ran.err)
          made.push(readFileSync(path.join(folder, file)))
        }
        assert.ok(made[0]!.equals(made[1]!), 'threads')
        return JSON.parse(readFileSync(path.join(folder, output.replace('safetensors', 'lineage.json')), 'utf8'))
      })
    }))

const PARAMETERS: Readonly<Record<string, string>> = {
  slerp: 't: 0.4',
  nearswap: 't: 0.1',
  ties: 'density: 0.4',
  della: 'density: 0.5',
  dare_ties: 'density: 0.5, rescale: l1',
  model_stock: 'filter_wise: true',
  nuslerp: 'flatten: false',
  sce: 'select_topk: 0.4',
  formula: 'formula: mean(x)',
}

test('every method', () =>
  inFolder(async (folder) => {
    const rules = METHODS.filter(({ statistics }) => !statistics).map(({ name, models, base }) => {
      const all = base === 'required' ? ['a', 'b'] : ['base', 'a', 'b']
      const taking = models.most === 1 ? ['a'] : all.slice(0, models.most ?? 3)
      const parameters = PARAMETERS[name] ? `, parameters: {${PARAMETERS[name]}}` : ''
      const others = taking.filter((other) => other !== 'base')
      return rule(name, `method: ${name}, models: [${taking}]${parameters}`, others)
    })
    await compare(folder, { base: 90, a: 64, b: 100 }, rules, async (recipe, output) => {
      const prepared = await plan(path.join(folder, recipe), { output: path.join(folder, output) })
      return (await run(prepared, { threads: 1, sync: false })).outputs[0]!.lineage
    })
  }))

const model = (rows: number, seed: number): Tensors => ({
  'embed.weight': bf16([rows, 24], numbers(rows * 24, seed)),
  'head.bias': f32([rows], numbers(rows, seed + 1)),
  'head.weight': f32([rows, 3, 5], numbers(rows * 15, seed + 2)),
})

test('steps within steps, other shapes, rules; plan and verify', () =>
  inFolder(async (folder) => {
    const file = (name: string) => path.join(folder, `${name}.safetensors`)
    writeModel(file('a'), { ...model(40, 1), other: f32([4, 6], numbers(24, 9)) })
    writeModel(file('b'), { ...model(37, 4), other: f32([4, 5], numbers(20, 8)) })
    writeModel(file('c'), { ...model(51, 7), other: f32([5, 6], numbers(30, 7)) })
    const recipe = (rest: string) => `terge: 1
models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
${rest}
`
    writeFileSync(
      path.join(folder, 'one.yml'),
      recipe(`steps:
  bc: {merge: {method: slerp, models: [b, c], base: c, on_mismatch: crop, parameters: {t: 0.5}}}
  all: {merge: {method: linear, models: [a, bc], base: a, on_mismatch: crop, rules: [{match: head.bias, weights: [0, 1]}]}}
outputs: [{from: bc, path: bc.safetensors, dtype: float32}, {from: all, path: all.safetensors, dtype: float32}]`),
    )
    writeFileSync(
      path.join(folder, 'two.yml'),
      recipe(`steps:
  all: {merge: {method: linear, models: [a, bc], base: a, on_mismatch: crop, rules: [{match: head.bias, weights: [0, 1]}]}}
output: {path: two.safetensors, dtype: float32}`).replace('c: c.safe', 'bc: bc.safe'),
    )
    const shown = await terge(['plan', 'one.yml'], folder)
    assert.match(shown.out, 'cropped to common rows: 4 tensors')
    assert.match(shown.out, 'other: 4 of 4 rows, for bc')
    assert.match(shown.out, 'embed.weight: 37 of 51 rows, for b')
    assert.match(shown.out, 'without b, which has them in another shape: 1 tensor')
    for (const format of ['json', 'mermaid', 'dot'])
      assert.is((await terge(['plan', 'one.yml', '--format', format], folder)).code, 0)
    for (const [name, threads] of [
      ['one', '1'],
      ['two', '2'],
    ] as const) {
      const ran = await terge(['run', `${name}.yml`, '--threads', threads], folder)
      assert.is(ran.code, 0, ran.err)
      assert.match(ran.out, `${name === 'one' ? 'all' : 'two'}.safetensors: 4 tensors (4 cropped to common rows), `)
    }
    const [all, two] = await Promise.all([bytesOf(file('all')), bytesOf(file('two'))])
    // Fused or by way of a file in the compute type: the same.
    for (const [name, bytes] of all) assert.ok(bytes.equals(two.get(name)!), name)
    const lineage: Lineage = JSON.parse(readFileSync(path.join(folder, 'all.lineage.json'), 'utf8'))
    const { cropped, sources } = lineage.tensors['embed.weight']!
    assert.equal(cropped, { rows: 40, models: ['bc'] })
    assert.equal(sources[1]!.of!.cropped, { rows: 37, models: ['b'] })
    const verified = await terge(['verify', 'all.lineage.json', '--reproduce'], folder)
    assert.is(verified.code, 0, verified.err + verified.out)
    const report = await terge(['report', 'all.lineage.json', '-o', 'r.html'], folder)
    assert.is(report.code, 0, report.err)
  }))

test('a cropped tensor is not aligned afterwards', () =>
  inFolder(async (folder) => {
    const net = (rows: number, seed: number): Tensors => ({
      'fc1.weight': f32([rows, 8], numbers(8 * rows, seed)),
      'fc1.bias': f32([rows], numbers(rows, seed + 1)),
      'fc2.weight': f32([4, 6], numbers(24, seed + 2)),
      'fc2.bias': f32([4], numbers(4, seed + 3)),
    })
    for (const [name, rows] of Object.entries({ a: 6, b: 6, c: 5 }))
      writeModel(path.join(folder, `${name}.safetensors`), net(rows, rows))
    writeFileSync(
      path.join(folder, 'r.yml'),
      `terge: 1
models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
steps:
  soup: {merge: {method: linear, models: [b, c], base: b, on_mismatch: crop}}
  moved: {rebasin: {model: soup, onto: a, spec: chain}}
output: o.safetensors
`,
    )
    const { code, err } = await terge(['validate', 'r.yml'], folder)
    assert.is(code, 2)
    assert.match(err, "r.yml:5:20: error no-alignment: soup can't be aligned: a merge cropped its tensor fc1.bias")
  }))

test.run()
