/** How valid recipes are read. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatDiagnostic } from '../../src/core/diagnostics.js'
import { loadRecipe } from '../../src/recipe/load.js'
import { inFolder } from '../support/files.js'
import { load, mergeOf } from './helpers.js'

const HEAD = 'terge: 1\nmodels: {base: ./base, a: ./a, b: ./b}\n'

test('the shortest recipe has defaults for everything else', () => {
  const recipe = load('terge: 1\nmodels: {a: ./a, b: ../b.safetensors}\nmerge: {method: linear}\noutput: ./out\n')
  const merge = mergeOf(recipe)
  assert.equal(
    [...recipe.models.values()].map(({ reference, origin }) => [reference, origin]),
    [
      ['./a', 'path'],
      ['../b.safetensors', 'path'],
    ],
  )
  assert.is(merge.base, 'a')
  assert.is(merge.baseWritten, false)
  assert.equal(merge.settings.models, ['a', 'b'])
  assert.equal(merge.settings.weights, [[1], [1]])
  assert.equal([merge.onMissing, merge.onMismatch], ['copy', 'copy'])
  assert.equal(
    recipe.outputs.map(({ from, path }) => [from, path]),
    [['merge', './out']],
  )
  assert.is(recipe.outputs[0]?.resolved, path.resolve('out'))
  assert.equal([recipe.compute, recipe.seed, recipe.tokenizer], ['float32', 0, undefined])
})

test('every key of a merge is read', () => {
  const recipe = load(
    `${HEAD}base: base
filters: {include: ["model.layers.**", lm_head.weight], exclude: "/norm\\\\.weight$/"}
merge:
  method: task_arithmetic
  models: [b, a]
  weights: {a: [0, 1], b: -0.5}
  parameters: {lambda: 0.7, normalize: true}
  on_missing: error
  on_mismatch: error
compute: float64
seed: 7
tokenizer: base
output: {path: out, from: merge-of-nobody, dtype: fp16, shard_size: 512MiB, metadata: {format: pt}}
`.replace('from: merge-of-nobody, ', ''),
  )
  const { settings, filters, ...merge } = mergeOf(recipe)
  assert.equal(settings.models, ['b', 'a'])
  assert.equal(settings.weights, [[-0.5], [0, 1]])
  assert.equal(
    [...settings.parameters].map(([name, { value }]) => [name, value]),
    [
      ['lambda', { kind: 'gradient', value: [0.7] }],
      ['normalize', { kind: 'scalar', value: true }],
    ],
  )
  assert.equal(
    filters.include.map(({ pattern }) => [pattern.kind, pattern.text]),
    [
      ['glob', 'model.layers.**'],
      ['exact', 'lm_head.weight'],
    ],
  )
  assert.ok(filters.exclude[0]?.pattern.matches('x.norm.weight'))
  assert.equal([merge.onMissing, merge.onMismatch, merge.baseWritten], ['error', 'error', true])
  assert.equal([recipe.compute, recipe.seed], ['float64', 7])
  const [output] = recipe.outputs
  assert.equal([output?.dtype, output?.shardSize, output?.metadata.format], ['F16', 536870912, 'pt'])
})

test('the base is not a merged model of task-vector methods, but of others', () => {
  const of = (merge: string) => mergeOf(load(`${HEAD}base: base\nmerge: ${merge}\noutput: x\n`)).settings.models
  assert.equal(of('{method: linear}'), ['base', 'a', 'b'])
  assert.equal(of('{method: task_arithmetic}'), ['a', 'b'])
  assert.equal(of('{method: task_arithmetic, models: [b, base, a]}'), ['b', 'a'])
  assert.equal(of('{method: arithmetic, models: [b, base, a]}'), ['b', 'base', 'a'])
})

test('a rule with the same method overrides merge, a rule with another method starts from its defaults', () => {
  const { rules } = mergeOf(
    load(`${HEAD}base: base
merge:
  method: task_arithmetic
  models: [a, b]
  weights: {a: 0.6, b: 0.4}
  parameters: {lambda: 2, normalize: true}
  rules:
    - {match: one}
    - {match: two, weights: {b: 5}, parameters: {lambda: 3}}
    - {match: three, method: task_arithmetic, weights: [7, 8]}
    - {match: four, method: linear}
    - {match: five, method: linear, models: [base, a, b], weights: {b: 9}, parameters: {normalize: false}}
    - {match: six, models: [b]}
output: x
`),
  )
  const seen = rules.map(({ settings: { method, models, weights, parameters } }) => [
    method,
    models.join(),
    weights.flat().join(),
    [...parameters].map(([name, { value }]) => `${name}=${'value' in value ? value.value : ''}`).join(),
  ])
  assert.equal(seen, [
    ['task_arithmetic', 'a,b', '0.6,0.4', 'lambda=2,normalize=true'],
    ['task_arithmetic', 'a,b', '0.6,5', 'lambda=3,normalize=true'],
    ['task_arithmetic', 'a,b', '7,8', 'lambda=2,normalize=true'],
    ['linear', 'a,b', '1,1', ''],
    ['linear', 'base,a,b', '1,1,9', 'normalize=false'],
    ['task_arithmetic', 'b', '0.4', 'lambda=2,normalize=true'],
  ])
})

test('a mapping of weights overrides a list, and a list may include the base', () => {
  const { settings, rules } = mergeOf(
    load(`${HEAD}merge:
  {method: linear, weights: [1, 2, 3], rules: [{match: x, weights: {a: 9}}, {match: y, models: [b, base]}]}
output: x
`),
  )
  assert.equal(settings.weights, [[1], [2], [3]])
  assert.equal(
    rules.map((rule) => rule.settings.weights),
    [
      [[1], [9], [3]],
      [[3], [1]],
    ],
  )
})

test('models keep their order, even with names that look like numbers', () => {
  const recipe = load('terge: 1\nmodels: {"10": x, "9": y, a: z}\nmerge: {method: linear}\noutput: x\n')
  assert.equal(mergeOf(recipe).settings.models, ['10', '9', 'a'])
  assert.is(mergeOf(recipe).base, '10')
})

test('names of built-in object properties are ordinary names', () => {
  const recipe = load(`terge: 1
models: {constructor: x, __proto__: y, toString: z}
merge: {method: linear, weights: {__proto__: 2, constructor: 3}}
output: {path: x, metadata: {__proto__: p}}
`)
  assert.equal(mergeOf(recipe).settings.weights, [[3], [2], [1]])
  assert.equal(Object.entries(recipe.outputs[0]?.metadata ?? {}), [['__proto__', 'p']])
})

test('steps are in dependency order, and the unused step is the output', () => {
  const recipe = load(`terge: 1
models: {a: a, b: b, c: c}
steps:
  final: {merge: {method: slerp, models: [soup, c], parameters: {t: [0, 0.5]}}}
  soup: {merge: {method: linear, models: [a, b]}}
output: {path: final.safetensors, dtype: bf16}
`)
  assert.equal(
    recipe.steps.map(({ name }) => name),
    ['soup', 'final'],
  )
  assert.is(recipe.outputs[0]?.from, 'final')
  assert.is(mergeOf(recipe, 'final').base, 'a')
})

test('several outputs can have the same step or a model', () => {
  const recipe = load(`terge: 1
models: {a: a, b: b}
steps:
  x: {merge: {method: linear}}
  y: {merge: {method: linear, models: [x, a], base: x, filters: {exclude: z}}}
outputs: [{path: one, from: x}, {path: two, from: y, dtype: f32}, {path: three, from: b}]
`)
  assert.equal(
    recipe.outputs.map(({ from }) => from),
    ['x', 'y', 'b'],
  )
  assert.equal([mergeOf(recipe, 'y').base, mergeOf(recipe, 'y').filters.exclude.length], ['x', 1])
})

test('steps that no output needs are dropped', () => {
  const { recipe, diagnostics } = loadRecipe('r.yml', {
    text: 'terge: 1\nmodels: {a: a, b: b}\nmerge: {method: linear}\noutput: {from: a, path: x}\n',
  })
  assert.equal(recipe?.steps, [])
  assert.equal(
    diagnostics.map(({ code, place }) => [code, place?.line]),
    [['unused-step', 3]],
  )
  assert.equal(recipe?.warnings, diagnostics)
})

test('the models of a joint alignment reserve their names, and count as used together', () => {
  const told = (steps: string, models = 'a: a, b: b, c: c', from = 'm') =>
    loadRecipe('r.yml', {
      text: `terge: 1\nmodels: {${models}}\nsteps:\n  j: {rebasin: {models: [a, b, c], method: merge-many}}\n${steps}output: {from: ${from}, path: x}\n`,
    }).diagnostics.map(({ code, message, place }) => [code, message, place?.line, place?.column])
  const taken = (who: string) => [
    ['name-taken', `this alignment makes a model named 'j.c', but a ${who} already has this name`, 4, 32],
  ]
  const merge = '  m: {merge: {method: linear, models: [a, j.b, j.c]}}\n'
  for (const models of ['a, j.b, j.c', 'j.b, j.c', 'a, j'])
    assert.equal(told(`  m: {merge: {method: linear, models: [${models}], base: a}}\n`), [])
  assert.equal(told(merge, 'a: a, b: b, c: c, j.c: a'), taken('model'))
  assert.equal(told(`${merge}  j.c: {merge: {method: linear, models: [a, j]}}\n`), taken('step'))
  assert.equal(told(merge, undefined, 'b'), [
    ['unused-step', "no output needs the step 'j'", 4, 3],
    ['unused-step', "no output needs the step 'm'", 5, 3],
  ])
  // The short form generates free names.
  const short = load(
    'terge: 1\nmodels: {a: a, b: b, rebasin.b: c}\nrebasin: {models: [a, b], method: c2m3}\nmerge: {method: linear}\noutput: x\n',
  )
  assert.equal(
    short.steps.map(({ name }) => name),
    ['rebasin-2.b', 'merge'],
  )
})

test('aliases repeat whole values', () => {
  const recipe = load(`terge: 1
models: {a: a, b: b}
base: a
merge: {method: linear, weights: &w {a: 2, b: 3}, rules: [{match: x, method: task_arithmetic, models: [b], weights: {b: 1}}, {match: y, weights: *w}]}
output: x
`)
  assert.equal(mergeOf(recipe).rules[1]?.settings.weights, [[2], [3]])
})

test('places of keys, of values, and of missing values', () => {
  const { placeOf } = load(`${HEAD}merge: {method: linear, weights: [1, 2, 3]}\noutput: x\n`)
  const at = (path: (string | number)[], part?: 'key') => {
    const { line, column, length } = placeOf(path, part)
    return [line, column, length]
  }
  assert.equal(at(['merge', 'weights', 1]), [3, 38, 1])
  assert.equal(at(['merge', 'weights']), [3, 34, 9])
  assert.equal(at(['merge', 'weights'], 'key'), [3, 25, 7])
  assert.equal(at(['merge', 'nothing', 0]), [3, 1, 5])
  assert.is(placeOf(['output']).text, 'output: x')
})

test('--set overrides values of the recipe', () => {
  const text = `${HEAD}merge: {method: linear, models: [a, b], rules: [{match: x, weights: {a: 1}}]}\noutput: x\n`
  const set = [
    'merge.weights.a=0.25',
    'merge."weights".b=[0, 1]',
    "merge.rules[0].'weights'.a=4",
    'merge.rules.0.match=["/a=b/"]',
    'models."base"=./other',
    'output={path: y, dtype: bf16}',
  ]
  const recipe = loadRecipe('r.yml', { text, set }).recipe
  if (!recipe) throw new Error('no recipe')
  assert.equal(mergeOf(recipe).settings.weights, [[0.25], [0, 1]])
  assert.equal(mergeOf(recipe).rules[0]?.settings.weights, [[4], [0, 1]])
  assert.is(mergeOf(recipe).rules[0]?.match[0]?.pattern.text, '/a=b/')
  assert.is(recipe.models.get('base')?.reference, './other')
  assert.equal([recipe.outputs[0]?.path, recipe.outputs[0]?.dtype], ['y', 'BF16'])
  assert.equal(recipe.overrides, set)
  assert.is(recipe.text, text)
  assert.is(
    formatDiagnostic({
      severity: 'error',
      code: 'syntax',
      message: 'm',
      place: recipe.placeOf(['merge', 'weights', 'a']),
    }),
    '--set:1:17: error syntax: m\n  merge.weights.a=0.25\n                  ^^^^',
  )
})

test('an output path on the command line is relative to the working folder and keeps the other settings', () => {
  const text = `${HEAD}merge: {method: linear}\n`
  const [made] = load(text, { output: 'here' }).outputs
  assert.equal([made?.path, made?.resolved, made?.from], ['here', path.resolve('here'), 'merge'])
  const folder = path.resolve('some')
  const { recipe } = loadRecipe('some/r.yml', { text: `${text}output: {path: x, dtype: f32}\n`, output: 'here' })
  assert.equal(
    [recipe?.folder, recipe?.outputs[0]?.resolved, recipe?.outputs[0]?.dtype],
    [folder, path.resolve('here'), 'F32'],
  )
})

test('a recipe file: its folder, a byte order mark, and unreadable files', () =>
  inFolder((folder) => {
    const file = path.join(folder, 'r.yml')
    writeFileSync(file, `\ufeff${HEAD}merge: {method: linear}\r\noutput: x\r\n`)
    const { recipe } = loadRecipe(file)
    assert.equal([recipe?.file, recipe?.folder, recipe?.outputs[0]?.resolved], [file, folder, path.join(folder, 'x')])
    const told = (name: string, content?: string | Buffer): string[] => {
      if (content !== undefined) writeFileSync(path.join(folder, name), content)
      return loadRecipe(path.join(folder, name), { name }).diagnostics.map(formatDiagnostic)
    }
    assert.equal(told('none.yml'), [
      "error missing-recipe: there is no file 'none.yml'\n  hint: check the path; terge init writes a new recipe",
    ])
    assert.equal(told('.'), ["error unreadable-recipe: '.' is a folder\n  hint: pass the recipe file inside it"])
    assert.equal(told('latin.yml', Buffer.from('terge: 1\n# caf\xe9\n', 'latin1')), [
      "error bad-encoding: 'latin.yml' is not UTF-8: line 2\n  hint: save it as UTF-8",
    ])
    assert.equal(told('long.yml', `# ${'x'.repeat(60_000)}\n`), [
      'error too-long: a line can have at most 50000 characters; line 1 is longer\n  hint: break the line',
    ])
    assert.equal(told('huge.yml', 'x'.repeat(4_100_000)), [
      "error too-long: 'huge.yml' is larger than 4000000 bytes\n  hint: make sure that the file is a recipe",
    ])
    assert.equal(told('million.yml', '# x\n'.repeat(300_000)), [
      'million.yml:1:1: error too-long: a recipe can have at most 1000000 characters; this one has 1200000\n  # x\n  ^\n  hint: make sure that the file is a recipe, or split it into several recipes',
    ])
  }))

test('an unknown method is reported with a list of methods', () => {
  const text = `${HEAD}merge: {method: quux, parameters: {density: 0.5}}\noutput: x\n`
  const { diagnostics } = loadRecipe('r.yml', { text })
  assert.equal(
    diagnostics.map(({ code }) => code),
    ['unknown-method'],
  )
  assert.match(diagnostics[0]?.hint ?? '', /^methods: 'linear', 'arithmetic', /)
})

test.run()
