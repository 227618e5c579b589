/** Licenses of inputs: from cards and files of anybody, in plans, lineages and model cards. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan, planLicenses, report, run } from '../../src/index.js'
import { modelCard } from '../../src/lineage/forms/card.js'
import { readCard } from '../../src/lineage/history/card.js'
import { commonLicense, licenseOfText } from '../../src/lineage/history/terms.js'
import type { Lineage, LineageModel } from '../../src/lineage/types.js'
import { f32, inFolder, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'
import { sample } from './sample.js'

const card = (...lines: readonly string[]) => readCard(['---', ...lines, '---', '# Model'].join('\n'))

test('cards: license, base models and tags; damaged keys say nothing and hide no others', () => {
  assert.equal(card('license: Apache-2.0', 'base_model: [o/a, o/b]', 'tags:', '- merge', '- terge'), {
    license: { id: 'apache-2.0' },
    bases: ['o/a', 'o/b'],
    tags: ['merge', 'terge'],
    unread: [],
  })
  assert.equal(card('license: other', 'license_name: mine', 'license_link: LICENSE', 'x: 1').license, {
    id: 'other',
    name: 'mine',
    link: 'LICENSE',
  })
  assert.equal(card('license: [mit, apache-2.0]').license, { id: 'other', name: 'mit or apache-2.0' })
  assert.equal(readCard('\ufeff---\r\nlicense: mit\r\n---\r\n').license, { id: 'mit' })
  // Results of evaluations can be damaged or very long: they are not parsed.
  const results = Array.from({ length: 50_000 }, (_, i) => `  - {name: r${i}, value: [`)
  assert.equal(card('model-index:', ...results, 'license: mit').license, { id: 'mit' })
  const nothing = { bases: [], tags: [], unread: [] }
  const bomb = ['tags: &a [x, x]', ...Array.from({ length: 30 }, (_, i) => `license_name: &b${i} [*a, *a]`)]
  for (const lines of [
    ['license: [mit'],
    ['license: !!js/function x'],
    bomb,
    ['license: "a\\u0007b"'],
    [`license: ${'x'.repeat(2000)}`],
    ['license: {a: b}'],
  ]) {
    assert.is(card(...lines).license, undefined, lines[0])
    assert.ok(card(...lines).unread.length > 0, lines[0])
  }
  // A damaged key hides no other, wherever it is. An empty one says nothing.
  for (const bad of [
    'tags: [x',
    'title: "x',
    'base_model: *gone',
    'license_name: {',
    'x: &a [*a',

    'model-index: - a: b: c',
  ])
    for (const lines of [
      [bad, 'license: mit', '# end'],
      ['license: "mit" # ours', bad],
      ["'license' : mit", bad],
    ])
      assert.equal(card(...lines).license, { id: 'mit' }, lines.join('\n'))
  assert.equal(card('  license: mit', '  tags: [x').license, { id: 'mit' })
  assert.equal(card('license:', 'tags: [').unread, ['tags'])
  assert.equal(card('license: mit', 'license: gemma'), { ...nothing, unread: ['license'] })
  assert.equal(card(`tags: [${'x,'.repeat(40_000)}]`, 'license: mit').license, { id: 'mit' })
  assert.equal(readCard('---\nlicense: mit\n\n# Model\n'), { ...nothing, unread: ['license'] })
  assert.equal(readCard('---\n\n# Model\n\nNo terms.\n'), nothing)
  assert.equal([readCard('# Model'), readCard('license: mit'), readCard('')], [nothing, nothing, nothing])
})

test('the text of a license file names common licenses', () => {
  for (const [text, id] of [
    [
      '                                 Apache License\n                           Version 2.0, January 2004',
      'apache-2.0',
    ],
    ['MIT License\n\nCopyright (c) 2026', 'mit'],
    ['LLAMA 3.1 COMMUNITY LICENSE AGREEMENT', 'llama3.1'],
    ['META LLAMA 3 COMMUNITY LICENSE AGREEMENT', 'llama3'],
    ['Gemma Terms of Use', 'gemma'],
    ['All rights reserved', undefined],
    // Common texts with other terms in front of them.
    [
      'Modified MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software',
      undefined,
    ],
    ['“Commons Clause” License Condition v1.0\n\nApache License\nVersion 2.0', undefined],
  ])
    assert.is(licenseOfText(text!), id, text)
})

test('one name with two addresses is two licenses', () => {
  const at = (link: string) => ['m', { license: { id: 'other', name: 'mine', link } }] as const
  assert.is(commonLicense([at('https://a.example/1'), at('https://a.example/2')]), undefined)
  assert.is(commonLicense([at('https://a.example/1'), at('https://a.example/1')])?.name, 'mine')
})

/** Folders of models with these cards and license files. */
function writeModels(folder: string, models: Readonly<Record<string, { card?: string; file?: string }>>): string {
  for (const [name, { card, file }] of Object.entries(models)) {
    const place = path.join(folder, name)
    mkdirSync(place)
    writeModel(path.join(place, 'model.safetensors'), { w: f32([2], [1, 2]) })
    if (card !== undefined) writeFileSync(path.join(place, 'README.md'), `---\n${card}\n---\n`)
    if (file !== undefined) writeFileSync(path.join(place, 'LICENSE'), file)
  }
  const names = Object.keys(models)
  const recipe = path.join(folder, 'recipe.yml')
  const listed = names.map((name) => `  ${name}: ./${name}`).join('\n')
  writeFileSync(recipe, `terge: 1\nmodels:\n${listed}\nmerge: {method: linear, models: [${names}]}\noutput: out\n`)
  return recipe
}

test('models under different licenses: a warning, a list, and records in the lineage', () =>
  inFolder(async (folder) => {
    const recipe = writeModels(folder, {
      a: { card: 'license: apache-2.0' },
      b: { file: 'LLAMA 3.1 COMMUNITY LICENSE AGREEMENT' },
      c: {},
    })
    symlinkSync('/etc/hostname', path.join(folder, 'c/README.md'))
    const prepared = await plan(recipe)
    const warnings = prepared.diagnostics.filter(({ code }) => code === 'licenses-differ')
    assert.equal(
      warnings.map(({ message }) => message),
      ['the models are under different licenses: apache-2.0: a; llama3.1: b; unknown: c'],
    )
    assert.equal(
      planLicenses(prepared).map(({ model, terms, license }) => [model, terms, license?.file?.name]),
      [
        ['a', 'apache-2.0', undefined],
        ['b', 'llama3.1', 'LICENSE'],
        ['c', 'unknown', undefined],
      ],
    )
    const listed = await terge(['plan', 'recipe.yml', '--licenses'], folder)
    assert.match(
      listed.out,
      /^model {2}license {5}file {5}reference\na {6}apache-2\.0 .*\nb {6}llama3\.1 {4}LICENSE {2}\.\/b\n/,
    )
    const asRun = await terge(['run', 'recipe.yml', '--licenses', '--json'], folder)
    assert.is((JSON.parse(asRun.out) as { terms: string }[])[2]!.terms, 'unknown')
    const { lineage } = (await run(prepared, { threads: 1 })).outputs[0]!
    assert.equal(lineage.models.a!.license, { id: 'apache-2.0' })
    assert.match(lineage.models.b!.license!.file!.sha256, /^sha256:/)
    assert.is(lineage.models.c!.license, undefined)
    const text = readFileSync(path.join(folder, 'out/README.md'), 'utf8')
    assert.not.match(text, /^license:/m)
    assert.match(text, '| files | bytes | license |')
  }))

test('a license that cannot be read is a warning', () =>
  inFolder(async (folder) => {
    const { diagnostics } = await plan(writeModels(folder, { a: { card: 'license: {a: b}' }, b: { card: 'tags: [' } }))
    assert.equal(
      diagnostics.map(({ code, message, place }) => [code, message.replace(/.*: README/, 'README'), place?.line]),
      [['card-unread', 'README.md has `license`, but it cannot be read: the license may be incomplete', 3]],
    )
  }))

test('models under one license: no warning, and the card has it', () =>
  inFolder(async (folder) => {
    const terms = 'license: other\nlicense_name: mine\nlicense_link: https://example.org/terms'
    const prepared = await plan(writeModels(folder, { a: { card: terms }, b: { card: `${terms}\ntags: [x]` } }))
    assert.equal(
      prepared.diagnostics.filter(({ code }) => code === 'licenses-differ'),
      [],
    )
    await run(prepared, { threads: 1 })
    const text = readFileSync(path.join(folder, 'out/README.md'), 'utf8')
    assert.match(text, 'license: "other"\nlicense_name: "mine"\nlicense_link: "https://example.org/terms"\n---')
    assert.equal(readCard(text).license, { id: 'other', name: 'mine', link: 'https://example.org/terms' })
  }))

test('an output is made from its own models, not from those of other outputs of the run', () =>
  inFolder(async (folder) => {
    const recipe = writeModels(folder, { a: { card: 'license: mit' }, b: { card: 'license: gemma' }, c: {} })
    writeFileSync(
      recipe,
      [
        'terge: 1',
        'models: {a: ./a, b: ./b, c: ./c}',
        'steps:',
        '  one: {merge: {method: passthrough, models: [b], base: b}}',
        '  all: {merge: {method: linear, models: [a, c]}}',
        'outputs: [{from: one, path: one}, {from: all, path: all}]',
      ].join('\n'),
    )
    const { outputs } = await run(await plan(recipe), { threads: 1 })
    assert.equal(
      outputs.map(({ lineage }) => [Object.keys(lineage.models), lineage.output.models]),
      [
        [['a', 'b', 'c'], ['b']],
        [
          ['a', 'b', 'c'],
          ['a', 'c'],
        ],
      ],
    )
    assert.match(readFileSync(path.join(folder, 'one/README.md'), 'utf8'), /^license: "gemma"$/m)
    const bill = JSON.parse(await report(path.join(folder, 'one'), 'cyclonedx')) as {
      metadata: { component: { licenses: unknown; pedigree: { ancestors: { name: string }[] } } }
    }
    const { licenses, pedigree } = bill.metadata.component
    assert.match(JSON.stringify(licenses), '"name":"gemma"')
    assert.equal(
      pedigree.ancestors.map(({ name }) => name),
      ['./b'],
    )
    assert.not.match(await report(path.join(folder, 'one'), 'text'), './a')
  }))

test('model cards say what the model is to its base models', () => {
  const hub = (index: number, name: string): LineageModel => ({
    ...sample.models.a!,
    index,
    reference: `hf:o/${name}@main`,
  })
  const written = (models: Lineage['models'], more: object = {}): string =>
    modelCard(
      { ...sample, models },
      { digest: 'sha256:0', methods: new Set(['linear']), quantized: false, companions: new Map(), ...more },
      'out',
    )
  const two = { a: hub(0, 'a'), b: hub(1, 'b') }
  assert.match(written(two), 'base_model:\n  - "o/a"\n  - "o/b"\nbase_model_relation: merge\n')
  const adapted = written(two, { methods: new Set(['lora']), companions: new Map([['b', 'lora']]) })
  assert.match(adapted, 'base_model:\n  - "o/a"\nbase_model_relation: finetune\n')
  const copied = { methods: new Set(['copy']) }
  assert.match(written({ a: hub(0, 'a') }, { ...copied, quantized: true }), 'base_model_relation: quantized')
  assert.not.match(written({ a: hub(0, 'a') }, copied), 'base_model_relation')
  assert.not.match(written(sample.models), 'base_model_relation')
  const stack = { kind: 'stack', patterns: [], models: ['a'] } as unknown as Lineage['steps'][string]
  const layers = { ...sample, models: { a: hub(0, 'a') }, steps: { tall: stack } }
  const text = { digest: 'sha256:0', methods: new Set(['copy']), quantized: false, companions: new Map() } as const
  assert.match(modelCard(layers, text, 'out'), 'base_model_relation: merge')
})

test.run()
