/** Generations of merges: the history of a model, and where its tensors came from. */
import { appendFileSync, cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Validation } from '@cyclonedx/cyclonedx-library'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan, report, run, type Trace, trace } from '../../src/index.js'
import { readLineage } from '../../src/lineage/disk.js'
import { traceTensor } from '../../src/lineage/history/trace.js'
import { lineageText } from '../../src/lineage/serialize.js'
import type { Lineage, LineageMerge, LineageTensor } from '../../src/lineage/types.js'
import { f32, inFolder, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'
import { sample } from './sample.js'

const T = 'layers.0.weight'
const VALUES = { a: 1, b: 4, base: 16 } as const

async function merged(folder: string, out: string, merge: string, models: readonly string[]): Promise<Lineage> {
  const file = path.join(folder, `${out}.yml`)
  const listed = models.map((name) => `  ${name}: ./${name === out ? `${name}-0` : name}`).join('\n')
  writeFileSync(file, `terge: 1\nmodels:\n${listed}\nmerge: ${merge}\noutput: ./${out}\n`)
  return (await run(await plan(file), { threads: 1 })).outputs[0]!.lineage
}

/** m1 and m2 are made from a, b and base, and `final` from them. */
async function generations(folder: string): Promise<void> {
  for (const [name, value] of Object.entries(VALUES)) {
    mkdirSync(path.join(folder, name))
    writeModel(path.join(folder, name, 'model.safetensors'), { [T]: f32([2], [value, -value]) })
  }
  await merged(folder, 'm1', '{method: linear, models: [a, b], weights: [1, 3]}', ['a', 'b'])
  await merged(folder, 'm2', '{method: task_arithmetic, base: base, models: [a], parameters: {lambda: 0.5}}', [
    'a',
    'base',
  ])
  await merged(folder, 'final', '{method: linear, models: [m1, m2]}', ['m1', 'm2'])
}

const weightsOf = ({ weights }: Trace) =>
  Object.fromEntries(weights.map(({ reference, weight }) => [reference.replace(/^\.\//, ''), weight]))

test('effective weights are summed over all ways, and are those of the bytes', () =>
  inFolder(async (folder) => {
    await generations(folder)
    const found = await trace(path.join(folder, 'final'), T)
    assert.is(found.linear, true)
    assert.equal(weightsOf(found), { a: 0.375, b: 0.375, base: 0.25 })
    const bytes = readFileSync(path.join(folder, 'final/model.safetensors'))
    assert.is(bytes.readFloatLE(bytes.length - 8), 0.375 * VALUES.a + 0.375 * VALUES.b + 0.25 * VALUES.base)

    const { out } = await terge(['trace', 'final', T], folder)
    assert.match(out, '0.5 × m1 (./m1): layers.0.weight, linear')
    assert.match(out, /weight {2}model {3}tensor\n {1}0\.375 {2}\.\/a/)
    const missing = await terge(['trace', 'final', 'layers.0.weigth'], folder)
    assert.match(missing.err, "error missing-tensor: final/lineage.json has no tensor 'layers.0.weigth'")

    await merged(folder, 'last', '{method: slerp, models: [final, b], parameters: {t: 0.5}}', ['final', 'b'])
    const other = await trace(path.join(folder, 'last'), T)
    assert.equal([other.linear, other.step.why], [false, 'slerp is not linear'])
    assert.equal(weightsOf(other), { a: null, b: null, base: null })
  }))

test('the history in text, on the page and in CycloneDX', () =>
  inFolder(async (folder) => {
    await generations(folder)
    const given = path.join(folder, 'final')
    const text = await report(given, 'text')
    const inputs = ['a', 'b', 'base'].map((name) => text.indexOf(` ${name}: ./${name}`))
    assert.ok(
      inputs.every((at) => at > 0),
      text,
    )
    assert.match(text, /├─ m1: \.\/m1 — made with terge [\d.]+: linear; recorded digests agree\n│ {2}├─ a: \.\/a\n/)
    assert.match(await report(given, 'html'), '<h2>History</h2><ul><li>m1: ./m1')
    const cyclonedx = await report(given, 'cyclonedx')
    assert.is(await new Validation.JsonStrictValidator('1.6' as never).validate(cyclonedx), null)
    const { pedigree } = JSON.parse(cyclonedx).metadata.component
    assert.equal(
      pedigree.ancestors.map((one: { name: string; pedigree: { ancestors: { name: string }[] } }) => [
        one.name,
        one.pedigree.ancestors.map(({ name }) => name).sort(),
      ]),
      [
        ['./m1', ['./a', './b']],
        ['./m2', ['./a', './base']],
      ],
    )
  }))

test('a lineage that is not about the files is shown and not followed', () =>
  inFolder(async (folder) => {
    await generations(folder)
    const given = path.join(folder, 'final')
    const place = (name: string): string => path.join(folder, name)
    const refused = async (why: RegExp): Promise<void> => {
      const text = await report(given, 'text')
      assert.match(text, why)
      assert.match(text, 'm1: ./m1 — has a lineage that is NOT TRUSTED')
      assert.not.match(text, '│  ├─ a: ./a')
      assert.equal(weightsOf(await trace(given, T)), { m1: 0.5, a: 0.25, base: 0.25 })
    }
    const file = place('m1/lineage.json')
    const right = readFileSync(file, 'utf8')
    writeFileSync(file, right.replace('"weight": 0.25', '"weight": 0.5'))
    await refused(/its lineage is not the one that lay beside it/)
    writeFileSync(file, 'no JSON')
    await refused(/not JSON/)
    writeFileSync(file, right)
    appendFileSync(place('m1/model.safetensors'), 'x')
    await refused(/model\.safetensors has \d+ bytes, but \d+ in its lineage/)

    // Without the digest of the lineage, as terge wrote it before, the digests of files decide.
    const { lineage } = await readLineage(place('final/lineage.json'))
    const { lineage: _, ...m1 } = lineage.models.m1!
    const older = { ...lineage, models: { ...lineage.models, m1 } }
    writeFileSync(place('final/lineage.json'), lineageText(older))
    writeModel(place('m1/model.safetensors'), { [T]: f32([2], [7, 7]) })
    writeFileSync(
      file,
      right
        .replaceAll(/"digest": "xxh3t:[0-9a-f]{32}"/g, `"digest": "xxh3t:${'0'.repeat(32)}"`)
        .replaceAll(/, "sha256": "[^"]*"(, "sha256_from": "\w+")?/g, ''),
    )
    await refused(/the recorded digests differ/)
    writeFileSync(
      file,
      right
        .replaceAll(/"digest": "xxh3t:[0-9a-f]{32}"/g, '"digest": null')
        .replaceAll(/, "sha256": "[^"]*"(, "sha256_from": "\w+")?/g, ''),
    )
    await refused(/no recorded digest that could be compared/)
  }))

test('hostile records: circles, other folders, names, and cards', () =>
  inFolder(async (folder) => {
    await generations(folder)
    const place = (name: string): string => path.join(folder, name)
    const { lineage: m1 } = await readLineage(place('m1/lineage.json'))
    const { lineage } = await readLineage(place('final/lineage.json'))
    const { lineage: _, ...input } = lineage.models.m1!
    const self = (reference: string): Lineage => ({
      ...m1,
      models: { ...m1.models, 'a\n└─ x': { ...input, index: 9, reference } },
    })
    writeFileSync(place('final/lineage.json'), lineageText({ ...lineage, models: { ...lineage.models, m1: input } }))
    const text = async (reference: string): Promise<string> => {
      writeFileSync(place('m1/lineage.json'), lineageText(self(reference)))
      return report(place('final'), 'text')
    }
    assert.match(await text('./m1'), 'not followed: its lineage is one that it was made for: they go round in a circle')
    assert.match(await text('../../../../../../etc'), /a.└─ x: \.\.\/.*— not followed: .* is outside of /)
    assert.match(await text('/etc'), /not followed: \/etc is outside of /)

    renameSync(place('m1/lineage.json'), place('m1/old'))
    writeFileSync(place('m1/README.md'), '---\ntags: [merge, terge]\nbase_model: [org/x, org/y]\n---\n')
    assert.match(
      await report(place('final'), 'text'),
      /as its card says \(not checked\)\n│ {2}├─ org\/x\n│ {2}└─ org\/y/,
    )
  }))

/** The record of an alignment that is the output itself. */
const REBASIN = { [sample.output.from]: { kind: 'rebasin', symmetry: 'permutation' } } as unknown as Lineage['steps']

async function made(folder: string, out: string, recipe: string): Promise<(tensor: string) => Promise<Trace>> {
  const file = path.join(folder, `${out}.yml`)
  writeFileSync(file, `terge: 1\n${recipe}\n`)
  await run(await plan(file), { threads: 1, sync: false })
  return (tensor) => trace(path.join(folder, out), tensor)
}

const rowsOf = ({ weights }: Trace) =>
  weights
    .map(({ reference, weight, permuted = [] }) => [path.basename(reference), weight, ...permuted])
    .sort(([a], [b]) => (a! < b! ? -1 : 1))

test('merged adapters: weights of their changes, if nothing was cut, through generations', () =>
  inFolder(async (folder) => {
    for (const name of ['a0', 'a1', 'a2'])
      cpSync(`test/fixtures/merged-adapters/merge-linear/${name}`, path.join(folder, name), { recursive: true })
    const A = 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight'
    const two = 'models: {x: ./a0, y: ./a1}\nmerge: {method: linear, weights: {x: 0.25, y: 0.75}'
    const full = await (await made(folder, 'full', `${two}}\noutput: ./full`))(A)
    assert.equal(
      [full.linear, full.step.ofChange, rowsOf(full)],
      [
        true,
        true,
        [
          ['a0', 0.25],
          ['a1', 0.75],
        ],
      ],
    )
    assert.equal(full.weights[0]!.tensors, [A, A.replace('lora_A', 'lora_B')])
    const cut = await (await made(folder, 'cut', `${two}, rank: 2}\noutput: ./cut`))(A)
    assert.equal(
      [cut.linear, rowsOf(cut)],
      [
        false,
        [
          ['a0', null],
          ['a1', null],
        ],
      ],
    )
    assert.match(cut.step.why!, /^the merged change was cut to a smaller rank, and keeps \d\d\.\d+ %/)
    const next =
      'models: {m: ./full, z: ./a2}\nmerge: {method: task_arithmetic, weights: {m: 1, z: 2}, parameters: {lambda: 0.5}}'
    const both = await (await made(folder, 'both', `${next}\noutput: ./both`))(A)
    assert.equal(
      [both.linear, rowsOf(both)],
      [
        true,
        [
          ['a0', 0.125],
          ['a1', 0.375],
          ['a2', 1],
        ],
      ],
    )
  }))

test('permutations move numbers: weights of aligned models, and which alignment moved them', () =>
  inFolder(async (folder) => {
    const at = (n: number): string => JSON.stringify(path.resolve(`test/fixtures/digits/mlp256-${n}.safetensors`))
    const models = `models: {a: ${at(0)}, b: ${at(1)}}\nrebasin: {model: b, onto: a, spec: chain, restarts: 1}`
    const out = 'output: out.safetensors'
    const of = await made(folder, 'out.safetensors', `${models}\nmerge: {method: linear, weights: [1, 3]}\n${out}`)
    assert.equal(rowsOf(await of('fc1.weight')), [
      ['mlp256-0.safetensors', 0.25],
      ['mlp256-1.safetensors', 0.75, 'rebasin-b'],
    ])
    const text = (await terge(['trace', 'out.safetensors', 'fc1.bias'], folder)).out
    assert.match(text, / 0\.75 {2}\S*mlp256-1\.safetensors {2}fc1\.bias, permuted by rebasin-b\n/)

    // A tensor in another order is another tensor, and a rotation is no permutation.
    const read = (model: string, more: object = {}) => ({ model, tensor: 'w', weight: 0.5, ...more })
    const aligned: LineageMerge = { method: 'rebasin', parameters: {}, sources: [read('b')] }
    const tensor: LineageTensor = {
      ...{ method: 'linear', parameters: {}, dtype: 'F32', shape: [2], digest: null },
      sources: [read('b'), read('moved', { of: aligned })],
    }
    const traced = (symmetry: string) => {
      const steps = { moved: { kind: 'rebasin', symmetry } } as unknown as Lineage['steps']
      return traceTensor({ ...sample, steps, tensors: { w: tensor } }, [], 'w')!.weights
    }
    assert.equal(
      traced('permutation').map(({ weight, permuted }) => [weight, permuted]),
      [
        [0.5, undefined],
        [0.5, ['moved']],
      ],
    )
    assert.equal(
      traced('orthogonal').map(({ weight }) => weight),
      [null],
    )
  }))

test('cropped rows and quantized models', () =>
  inFolder(async (folder) => {
    const write = (name: string, rows: number) =>
      writeModel(path.join(folder, `${name}.safetensors`), { w: f32([rows, 1], Array(rows).fill(1)) })
    write('a', 4)
    write('b', 3)
    const models = 'models: {a: a.safetensors, b: b.safetensors}\nbase: a'
    const merge = 'merge: {method: linear, weights: [1, 3], on_mismatch: crop}'
    const cropped = await (await made(folder, 'c.safetensors', `${models}\n${merge}\noutput: c.safetensors`))('w')
    assert.equal(
      [cropped.linear, cropped.rows, rowsOf(cropped)],
      [
        true,
        3,
        [
          ['a.safetensors', 0.25],
          ['b.safetensors', 0.75],
        ],
      ],
    )
    const text = (await terge(['trace', 'c.safetensors', 'w'], folder)).out
    assert.match(text, 'w: linear [only of the first 3 rows]')
    assert.match(text, 'effective weights, of the first 3 rows, over all ways')

    for (const name of ['x', 'y'])
      cpSync('test/fixtures/packed/fp8-block-f32', path.join(folder, name), { recursive: true })
    const W = 'model.layers.0.mlp.up_proj.weight'
    const two = 'models: {x: ./x, y: ./y}\nmerge: {method: linear, weights: [1, 3]}'
    await made(folder, 'q', `${two}\noutput: {path: ./q, quantize: fp8-block}`)
    const half = 'models: {q: ./q, y: ./y}\nmerge: {method: linear}'
    const of = await made(folder, 'q2', `${half}\noutput: {path: ./q2, quantize: fp8-block}`)
    const found = await of(W)
    assert.equal(
      [found.linear, found.step.quantized, found.weights.map(({ weight }) => weight)],
      [true, 'fp8-block', [1]],
    )
    assert.equal(
      found.step.sources.map(({ format, of }) => [format, of?.quantized]),
      [
        ['FP8, 128 × 128 blocks', 'fp8-block'],
        ['FP8, 128 × 128 blocks', undefined],
      ],
    )
    const scales = await of(`${W}_scale_inv`)
    assert.equal([scales.linear, scales.step.why], [false, 'these are the scales of a quantized weight'])
  }))

test('methods and shapes: passthrough, LoRA, steps in circles, other layouts, cut rows', () => {
  const read = (model: string, tensor = 'w', weight: number | null = null) => ({ model, tensor, weight })
  const traced = (merge: LineageMerge, more: Partial<Lineage> = {}) => {
    const tensor: LineageTensor = { ...merge, dtype: 'F32', shape: [2], digest: null }
    return traceTensor({ ...sample, tensors: { w: tensor }, ...more }, [], 'w')!
  }
  const all = ({ weights }: Trace) =>
    weights.map(({ reference, tensors, weight }) => [reference.slice(7, 8), tensors, weight])
  assert.equal(all(traced({ method: 'passthrough', parameters: { scale: [0.5] }, sources: [read('a')] })), [
    ['a', ['w'], 0.5],
  ])
  const lora: LineageMerge = {
    method: 'lora',
    parameters: { rank: 4, scale: 2 },
    sources: [read('a'), read('b', 'w.lora_B'), read('b', 'w.lora_A')],
  }
  assert.equal(all(traced(lora)), [
    ['a', ['w'], 1],
    ['b', ['w.lora_B', 'w.lora_A'], 1],
  ])
  const half: LineageMerge = {
    method: 'linear',
    parameters: {},
    sources: [{ ...read('final', 'w', 0.25), of: lora }, { ...read('a', 'w', 0.75) }],
  }
  assert.equal(all(traced(half)), [
    ['a', ['w'], 1],
    ['b', ['w.lora_B', 'w.lora_A'], 0.25],
  ])
  // The same adapter at two scales makes two changes: 0.25 · 2·B·A and 0.75 · 1·B·A are not 1 · s·B·A.
  const weaker: LineageMerge = { ...lora, parameters: { rank: 4, scale: 1 } }
  const scales: LineageMerge = {
    ...half,
    sources: [
      { ...read('final', 'w', 0.25), of: lora },
      { ...read('other', 'w', 0.75), of: weaker },
    ],
  }
  const changes = traced(scales).weights.filter(({ tensors }) => tensors.length > 1)
  assert.equal(
    changes.map(({ weight, scale }) => [weight, scale]),
    [
      [0.75, 1],
      [0.25, 2],
    ],
  )
  // Factors of a merged adapter are made from both factors of each adapter, and are no sum of those.
  const factor: LineageMerge = {
    method: 'linear',
    parameters: { factor: 'a' },
    sources: [
      read('a', 'w.lora_A', 0.3),
      read('a', 'w.lora_B', 0.3),
      read('b', 'w.lora_A', 0.7),
      read('b', 'w.lora_B', 0.7),
    ],
  }
  assert.is(traced(factor).linear, false)
  assert.ok(traced(factor).weights.every(({ weight }) => weight === null))
  const cropped = { ...half, cropped: { rows: 1, models: ['a'] } }
  assert.equal([traced(cropped).linear, traced(cropped).rows, traced(half).rows], [true, 1, undefined])
  // The first rows in another order are other rows.
  const aligned: LineageMerge = {
    ...{ method: 'rebasin', parameters: {} },
    sources: [{ ...read('soup'), of: cropped }],
  }
  assert.is(traced(aligned, { steps: REBASIN }).linear, false)
  const round: LineageMerge = { method: 'copy', parameters: {}, sources: [read('soup')] }
  const tensor: LineageTensor = {
    ...round,
    dtype: 'F32',
    shape: [2],
    digest: null,
    parts: [{ model: 'soup', tensor: 'w', ...round }],
  }
  assert.is(traceTensor({ ...sample, tensors: { w: tensor } }, [], 'w')!.linear, false)
  assert.is(traceTensor(sample, [], 'no such tensor'), undefined)

  // What a step made of a model need not be in the lineage of that model.
  const lineage = { file: 'a', digest: '', lineage: { ...sample, tensors: {} } }
  const known = { name: 'a', model: sample.models.a!, origin: { kind: 'lineage', read: lineage, inputs: [] } } as const
  const stoppedAt = (source: LineageMerge['sources'][number]): boolean => {
    const copy: LineageTensor = {
      method: 'copy',
      parameters: {},
      sources: [source],
      dtype: 'F32',
      shape: [2],
      digest: null,
    }
    return traceTensor({ ...sample, tensors: { w: copy } }, [known], 'w')!.step.sources[0]!.stopped !== undefined
  }
  assert.equal([stoppedAt(read('a')), stoppedAt({ ...read('a'), of: lora })], [true, false])
})

test.run()
