import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Diagnostic, Fault } from '../../src/core/diagnostics.js'
import { loadRecipe } from '../../src/recipe/load.js'
import { importMergekit, plan, validate } from '../../src/session/plan.js'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'
import { writeTensors } from './tensors.js'

const LAYERS = ['attn.q.weight', 'mlp.up.weight']
const tensors = (layers: number): Record<string, number[]> =>
  Object.fromEntries(
    [
      'embed.weight',
      'norm.weight',
      ...Array.from({ length: layers }, (_, i) => LAYERS.map((one) => `layers.${i}.${one}`)).flat(),
    ].map((name, i) => [name, [i, i + 1]]),
  )

/** A folder with the models a, b, c and base of four layers, and the configuration. */
const withConfig = <T>(config: string, work: (file: string, folder: string) => Promise<T>): Promise<T> =>
  inFolder(async (folder) => {
    for (const name of ['a', 'b', 'c', 'base']) {
      mkdirSync(path.join(folder, name))
      writeTensors(path.join(folder, name, 'model.safetensors'), tensors(4))
    }
    const file = path.join(folder, 'config.yml')
    writeFileSync(file, config)
    return work(file, folder)
  })

/** The part of a recipe between the models and the output. */
const middle = async (config: string): Promise<string> =>
  withConfig(config, async (file) => {
    const { text } = await importMergekit(file)
    return text.slice(text.indexOf('\nmerge:') + 1, text.indexOf('# mergekit takes'))
  })

const told = (diagnostics: readonly Diagnostic[]): string[] =>
  diagnostics.map(({ severity, code, place }) => `${severity} ${code} ${place?.line}:${place?.column}`)

const problems = (config: string, strict = false): Promise<string[]> =>
  withConfig(config, async (file) => told((await validate(file, { output: 'out', strict })).diagnostics))

test('weights and parameters per model, level and filter', async () => {
  const text = await middle(`
models:
  - model: a
    parameters: {weight: [{filter: mlp, value: 0.2}, {value: 0.5}], density: 0.7}
  - model: b
    parameters: {density: [0.1, 0.9]}
merge_method: ties
base_model: base
parameters: {weight: 0.3, density: 0.4, rescale: true, int8_mask: true, lambda: 1.5}
`)
  assert.is(
    text,
    `merge:
  method: ties
  models: [a, b]
  weights: {a: 0.5, b: 0.3}
  parameters:
    # mergekit rescales so that each task vector keeps its L1 norm
    rescale: l1
    lambda: 1.5
    density: {a: 0.7, b: [0.1, 0.9]}
  rules:
    - {match: /mlp/, weights: {a: 0.2}}
`,
  )
})

test('where defaults of mergekit differ, the recipe has them in full', async () => {
  const dare = (more: string): string =>
    `{models: [{model: a}, {model: b}], merge_method: dare_ties, base_model: base, parameters: {weight: 1${more}}}`
  assert.match(await middle(dare('')), 'rescale: l1')
  assert.match(await middle(dare(', rescale: false')), 'rescale: false')
  const nuslerp = (more: string): Promise<string> =>
    middle(`{models: [{model: a}, {model: b}], merge_method: nuslerp, parameters: {weight: 1${more}}}`)
  assert.not.match(await nuslerp(''), 'row_wise')
  assert.not.match(await nuslerp(', nuslerp_row_wise: true'), 'row_wise', 'no meaning beside flatten')
  assert.match(await nuslerp(', nuslerp_flatten: false'), 'parameters: {flatten: false, row_wise: true}')
  assert.match(await nuslerp(', nuslerp_flatten: false, nuslerp_row_wise: true'), 'row_wise: false')
})

test('the role of the base decides whether it is merged', async () => {
  const of = (method: string, models: string, more = ''): Promise<string> =>
    middle(`{models: [${models}], merge_method: ${method}, base_model: base, parameters: {${more}}}`)
  assert.match(await of('slerp', '{model: a}, {model: base}', 't: 0.5'), 'models: [base, a]')
  assert.match(await of('slerp', '{model: a}', 't: 0.5'), 'models: [base, a]', 'a base that is not listed is merged')
  assert.match(await of('model_stock', '{model: base}, {model: a}, {model: b}'), 'models: [a, b]')
  assert.match(await of('karcher', '{model: a}, {model: b}'), 'models: [a, b, base]')
  assert.match(await of('nearswap', '{model: a}', 't: 0.1'), 'models: [base, a]')
})

test('the printed recipe plans the same bytes as the configuration', async () => {
  for (const name of ['linear', 'gradient-slerp', 'task-arithmetic', 'stacked-layers']) {
    const file = fixture(`golden/${name}.yml`)
    const { text, diagnostics } = await importMergekit(file)
    assert.equal(diagnostics, [])
    const own = await plan(fixture(`golden/recipe.yml`), { text, output: 'out' })
    assert.is(own.plan.digest, (await plan(file, { output: 'out' })).plan.digest, name)
  }
})

test('rules list tensors where filters overlap', async () => {
  const text = await middle(`
models:
  - {model: a, parameters: {weight: [{filter: attn, value: 2}, {value: 1}]}}
  - {model: b, parameters: {weight: [{filter: layers.1, value: 5}, {value: 1}]}}
merge_method: linear
`)
  assert.match(text, '- {match: layers.1.attn.q.weight, weights: {a: 2, b: 5}}')
  assert.match(text, '- {match: /attn/, weights: {a: 2}}')
  assert.match(text, '- {match: "/layers\\\\.1/", weights: {b: 5}}')
})

test('documents can use each other by name, in any order', () =>
  withConfig(
    `# the last one
merge_method: slerp
base_model: first
models: [{model: c}, {model: first}]
parameters: {t: 0.3}
---
name: first
merge_method: linear
models: [{model: a}, {model: b}]
parameters: {weight: 0.5}
`,
    async (file) => {
      const { text } = await importMergekit(file)
      assert.match(text, 'models: [first, c]')
      assert.match(text, 'output: {path: ./merged, from: merged}')
      const { diagnostics } = await validate(file, { output: 'out' })
      assert.equal(told(diagnostics), [])
    },
  ))

test('documents in a cycle, and documents with the same name, are errors', async () => {
  const linear = (name: string, model: string): string =>
    `name: ${name}\nmerge_method: linear\nmodels: [{model: ${model}}, {model: a}]\nparameters: {weight: 1}\n`
  assert.equal(await problems(`${linear('x', 'y')}---\n${linear('y', 'x')}`), ['error cycle 2:15'])
  assert.equal(await problems(`${linear('x', 'b')}---\n${linear('x', 'b')}`), ['error name-taken 6:7'])
})

test('settings that mergekit ignores are warnings, or errors under --strict', async () => {
  const config = `models:
  - model: a
    weight: 1
    parameters: {weight: 1, normalize: true}
  - model: b
    parameters: {weight: [{filter: nothing, value: 2}, {value: 1}], desity: 1}
merge_method: linear
parameter: {}
`
  const found = (severity: string): string[] => [
    `${severity} ignored-key 3:5`,
    `${severity} ignored-parameter 4:29`,
    `${severity} ignored-filter 6:36`,
    `${severity} ignored-parameter 6:69`,
    `${severity} ignored-key 8:1`,
  ]
  assert.equal(await problems(config), found('warning'))
  const strict = await problems(config, true)
  assert.ok(strict.length >= 4 && strict.every((line) => line.startsWith('error ignored-')), strict.join('\n'))
})

test('errors point into the user’s own file', async () => {
  assert.equal(await problems('models: [{model: a}, {model: b}]\nmerge_method: liner\n'), ['error unknown-method 2:15'])
  assert.equal(await problems('models: [{model: a}, {model: b}]\nmerge_method: linear\n'), [
    'error missing-parameter 1:18',
    'error missing-parameter 1:30',
  ])
  assert.equal(
    await problems('models: [{model: a}, {model: nowhere}]\nmerge_method: linear\nparameters: {weight: 1}\n'),
    ['error missing-model 1:30'],
  )
  assert.equal(
    await problems('models: [{model: a}, {model: b}]\nmerge_method: slerp\nbase_model: a\nparameters:\n  t: half\n'),
    ['error bad-parameter 5:6'],
  )
  assert.equal(
    await problems('models: [{model: a}, {model: b}]\nmerge_method: linear\nparameters: {weight: 1}\ndtype: float23\n'),
    ['error unknown-dtype 4:8'],
  )
  assert.equal(await problems('models: [{model: a}]\nmerge_method: ties\nparameters: {weight: 1}\n'), [
    'error missing-base 2:15',
  ])
  assert.equal(await problems('slices: [{sources: [{model: a, layer_range: [0, 9]}]}]\nmerge_method: passthrough\n'), [
    'error bad-layers 1:45',
  ])
  assert.equal(
    await problems(
      'slices: [{sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: [0, 3]}]}]\nmerge_method: linear\nparameters: {weight: 1}\n',
    ),
    ['error slice-lengths 1:78'],
  )
})

test('a misspelled main key is one error, and not a recipe with many', async () => {
  const one = async (config: string) => {
    const { diagnostics } = await withConfig(config, (file) => validate(file, { output: 'out' }))
    return diagnostics
      .filter(({ severity }) => severity === 'error')
      .map(({ place, message, hint }) => `${place?.line}:${place?.column} ${message}; ${hint}`)
  }
  const two = 'models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]\n'
  assert.equal(await one(`${two}merge_methd: linear\nbase_model: base\n`), [
    "2:1 this document needs the key 'merge_method'; did you mean 'merge_method' where it has 'merge_methd'?",
  ])
  assert.equal(await one(`${two}base_model: base\n`), [
    "1:1 this document needs the key 'merge_method'; write merge_method: linear, or another method",
  ])
  const experts = '[{source_model: a, positive_prompts: [x]}]\n'
  assert.equal(await one(`base_model: base\ngate_mode: random\nexpert: ${experts}`), [
    "3:1 this document needs the key 'experts'; did you mean 'experts' where it has 'expert'?",
  ])
  assert.equal(await one(`base_mdel: base\ngate_mode: random\nexperts: ${experts}`), [
    "1:1 this document needs the key 'base_model'; did you mean 'base_model' where it has 'base_mdel'?",
  ])
})

test('merge keys of YAML 1.1 work in configurations, and only there', async () => {
  const config =
    'models:\n  - {model: a, parameters: &p {weight: 2}}\n  - {model: b, parameters: {<<: *p}}\nmerge_method: linear\n'
  assert.match(await middle(config), 'weights: {a: 2, b: 2}')
  const { diagnostics } = loadRecipe('x.yml', { text: 'terge: 1\nmodels: {<<: {a: b}}\n' })
  assert.ok(diagnostics.some(({ code }) => code === 'merge-key'))
})

test('models are found next to the file, then in the working folder, then on the hub', () =>
  inFolder(async (folder) => {
    mkdirSync(path.join(folder, 'configs/deep'), { recursive: true })
    writeTensors(path.join(folder, 'here.safetensors'), tensors(1))
    writeTensors(path.join(folder, 'both.safetensors'), tensors(1))
    writeTensors(path.join(folder, 'configs/both.safetensors'), tensors(1))
    const config = (model: string): void =>
      writeFileSync(
        path.join(folder, 'configs/c.yml'),
        `models: [{model: here.safetensors}, {model: ${model}}]\nmerge_method: linear\nparameters: {weight: 1}\n`,
      )
    config('both.safetensors')
    const found = await terge(['import', 'configs/c.yml'], folder)
    assert.is(found.code, 0, found.err)
    assert.match(found.out, '  here: ../here.safetensors\n  both: both.safetensors\n')
    const planned = await terge(['plan', 'configs/c.yml', '-o', 'out'], folder)
    assert.match(planned.out, 'here: ../here.safetensors (1 file')
    const moved = await terge(['import', 'configs/c.yml', '-o', 'configs/deep/recipe.yml'], folder)
    assert.equal([moved.code, moved.out], [0, 'wrote configs/deep/recipe.yml\n'], moved.err)
    assert.match(readFileSync(path.join(folder, 'configs/deep/recipe.yml'), 'utf8'), '  both: ../both.safetensors\n')
    const ran = await terge(['run', 'configs/deep/recipe.yml', '-o', 'out.safetensors', '--threads', '1'], folder)
    assert.is(ran.code, 0, ran.err)
    const nowhere = await terge(['import', 'configs/deep/recipe.yml'], folder)
    assert.equal([nowhere.code, nowhere.out], [2, ''])
    assert.match(nowhere.err, 'error not-mergekit')
  }))

test('references can have revisions and adapters, and wrong ones are errors', () => {
  const load = (model: string): Record<string, unknown> => {
    const text = `models: [{model: "${model}"}, {model: org/other}]\nmerge_method: linear\nparameters: {weight: 1}\n`
    const { conversion, diagnostics } = loadRecipe('/nowhere/c.yml', { text, output: 'out' })
    const models = conversion?.root?.entries.get('models')?.value
    const first = models?.kind === 'map' ? [...models.entries.values()][0]?.value : undefined
    return {
      codes: diagnostics.map(({ code }) => code),
      ...(first?.kind === 'scalar' ? { model: first.value } : {}),
      ...(first?.kind === 'map'
        ? Object.fromEntries(
            [...first.entries].map(([key, { value }]) => [key, value.kind === 'scalar' && value.value]),
          )
        : {}),
    }
  }
  assert.equal(load('org/name@v1'), { codes: [], model: 'hf:org/name@v1' })
  assert.equal(load('org/name@v1+org/lora'), { codes: [], hub: 'org/name@v1', lora: 'hf:org/lora' })
  assert.equal(load('org/name@v1+org/lora@v2').lora, 'hf:org/lora@v2')
  assert.equal(load('org/name+./lora').codes, ['missing-model'])
  assert.equal(load('a+b+c').codes, ['bad-model'])
  assert.equal(load('org/name@').codes, ['bad-model'])
  assert.equal(load('./org/name').codes, ['missing-model'])
})

test('commands with --strict fail on ignored settings', () =>
  inFolder(async (folder) => {
    for (const name of ['a', 'b']) writeTensors(path.join(folder, `${name}.safetensors`), tensors(1))
    const text =
      'models: [{model: a.safetensors}, {model: b.safetensors}]\nmerge_method: linear\nparameters: {weight: 1, density: 1}\n'
    writeFileSync(path.join(folder, 'c.yml'), text)
    for (const args of [
      ['validate', 'c.yml'],
      ['plan', 'c.yml'],
      ['import', 'c.yml'],
      ['run', 'c.yml', '-o', 'out', '--dry-run'],
    ]) {
      const [loose, strict] = [await terge(args, folder), await terge([...args, '--strict'], folder)]
      assert.equal([loose.code, strict.code], [0, 2], loose.err)
      assert.match(loose.err, 'c.yml:3:25: warning ignored-parameter: linear has no parameter ')
      assert.match(strict.err, 'c.yml:3:25: error ignored-parameter: linear has no parameter ')
    }
  }))

test('--set uses the keys of the configuration', () =>
  withConfig('models: [{model: a}, {model: b}]\nmerge_method: linear\nparameters: {weight: 1}\n', async (file) => {
    const { plan: planned } = await plan(file, { output: 'out', set: ['models.1.parameters.weight=3'] })
    const { expr } = planned.outputs[0]!.tensors[0]!
    assert.equal(expr.kind === 'merge' && expr.weights, [1, 3])
    const wrong = await plan(file, { set: ['models.7.parameters=3'] }).catch((error: unknown) => error)
    assert.ok(wrong instanceof Fault && wrong.diagnostics[0]?.code === 'bad-override')
  }))

test.run()
