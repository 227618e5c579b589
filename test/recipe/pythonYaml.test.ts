import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { pythonValue } from '../../src/language/pythonValue.js'
import { loadRecipe } from '../../src/recipe/load.js'
import { mergeOf } from './helpers.js'

const test = suite('mergekit files as PyYAML reads them')

/** Results of `yaml.safe_load` of PyYAML 6. */
const SCALARS: readonly (readonly [string, string | number | boolean | null])[] = [
  ...([
    ['010', 8],
    ['0o10', '0o10'],
    ['08', '08'],
    ['-017', -15],
    ['1_0', 10],
    ['0x1F', 31],
    ['0x_1f', 31],
  ] as const),
  ...([
    ['0b101', 5],
    ['1:30', 90],
    ['1:30:15', 5415],
    ['-1:30', -90],
    ['1:75', '1:75'],
    ['1:30.5', 90.5],
  ] as const),
  ...([
    ['1e5', '1e5'],
    ['1.e+5', 1e5],
    ['1.5e-3', 0.0015],
    ['1.5e3', '1.5e3'],
    ['.5', 0.5],
    ['1_0.5', 10.5],
  ] as const),
  ...([
    ['0', 0],
    ['+7', 7],
    ['1.', 1],
    ['_1', '_1'],
    ['.inf', Infinity],
    ['-.INF', -Infinity],
  ] as const),
  ...([
    ['yes', true],
    ['Off', false],
    ['TRUE', true],
    ['tRue', 'tRue'],
    ['y', 'y'],
    ['~', null],
    ['Null', null],
  ] as const),
  ...([
    ['', null],
    ['constructor', 'constructor'],
    ['1.2.3', '1.2.3'],
  ] as const),
]

test('plain scalars are read like PyYAML reads them', () => {
  for (const [text, value] of SCALARS) assert.is(pythonValue(text), value, text)
  assert.ok(Number.isNaN(pythonValue('.nan')))
})

const CONFIG = `merge_method: ties
base_model: org/base
models:
  - model: org/a
    parameters: {weight: 0.1, density: 1.5}
  - model: {model: {path: org/b}, override_architecture: X, tye: 1}
    parameters: {weight: 0o1, weight: 010}
  - model: org/a
    parameters: {weight: 1_0, density: 1:30}
parameters: {normalize: yes, lambda: [{filter: "", value: 0x2}]}
`

const codesOf = (text: string, options = {}): string[] =>
  loadRecipe('r.yml', { text, ...options }).diagnostics.map(({ severity, code }) => `${severity} ${code}`)

test('the last of repeated keys and models is used, densities above 1 are 1, an empty filter matches everything', () => {
  const { recipe } = loadRecipe('r.yml', { text: CONFIG })
  const { settings, rules } = mergeOf(recipe!)
  assert.equal(settings.models, ['a', 'b'])
  assert.equal(settings.weights, [[10], [8]])
  const value = (name: string) => settings.parameters.get(name)?.value
  assert.equal(value('lambda'), { kind: 'gradient', value: [2] })
  assert.equal(value('normalize'), { kind: 'scalar', value: true })
  assert.equal(rules, [])
  assert.not.ok(JSON.stringify([...settings.parameters]).includes('90'))
})

test('each is a warning, and ignored settings are errors under --strict', () => {
  const expected = ['ignored-key', 'ignored-key', 'repeated-key', 'repeated-model']
  assert.equal(
    codesOf(CONFIG).filter((code) => !code.endsWith('above-most')),
    expected.map((code) => `warning ${code}`),
  )
  const strict = codesOf(CONFIG, { strict: true })
  for (const code of expected) assert.ok(strict.includes(`error ${code}`), code)
})

test('a terge recipe is YAML 1.2: repeated keys are errors, and 010 is ten', () => {
  const recipe = 'terge: 1\nmodels: {a: a, b: b}\nmerge: {method: linear, weights: [010, 1]}\noutput: o\n'
  assert.equal(mergeOf(loadRecipe('r.yml', { text: recipe }).recipe!).settings.weights, [[10], [1]])
  assert.equal(codesOf(recipe.replace('[010, 1]', '[1, 1], weights: [1, 2]')), ['error duplicate-key'])
})

test('random_seed and out_shard_size of --set also work in recipes', () => {
  const set = ['random_seed=7', 'out_shard_size=5GB']
  const { recipe } = loadRecipe('r.yml', { text: CONFIG, set })
  assert.equal([recipe?.seed, recipe?.outputs[0]?.shardSize], [7, 5e9])
  const own = 'terge: 1\nmodels: {a: a, b: b}\nmerge: {method: linear}\noutput: {path: o}\n'
  const read = loadRecipe('r.yml', { text: own, set }).recipe
  assert.equal([read?.seed, read?.outputs[0]?.shardSize], [7, 5e9])
})

test('the filter of an ignored parameter needs no second warning', () => {
  const text = `merge_method: linear
models:
  - {model: org/a, parameters: {weight: 1, densty: [{filter: nosuch, value: 1}, {value: 0}]}}
  - {model: org/b, parameters: {weight: 1}}
`
  const known = new Map([
    ['hf:org/a', ['w']],
    ['hf:org/b', ['w']],
  ])
  assert.equal(codesOf(text, { known }), ['warning ignored-parameter'])
  assert.equal(codesOf(text.replace('densty', 'weight').replace('weight: 1, ', ''), { known }), [
    'warning ignored-filter',
  ])
})

test('unquoted names with dots in --set are errors that show the quoted form', () => {
  const text = 'terge: 1\nmodels: {qwen2.5: a, b: b}\nmerge: {method: linear}\noutput: o\n'
  const { diagnostics } = loadRecipe('r.yml', { text, set: ['merge.weights.qwen2.5=3'] })
  assert.equal(
    diagnostics.map(({ code }) => code),
    ['bad-override'],
  )
  assert.is(diagnostics[0]?.hint, `quote the name: --set 'merge.weights."qwen2.5"=3'`)
  const { recipe } = loadRecipe('r.yml', { text, set: ['merge.weights."qwen2.5"=3'] })
  assert.equal(mergeOf(recipe!).settings.weights, [[3], [1]])
})

test('a model that is listed twice is one error', () => {
  const text =
    'terge: 1\nmodels: {a: a, b: b}\nmerge: {method: linear, models: [a, b, a], weights: [1, 2]}\noutput: o\n'
  assert.equal(codesOf(text), ['error duplicate-model'])
})

test.run()
