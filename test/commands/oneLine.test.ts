import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { METHODS } from '../../src/methods/registry.js'
import { loadRecipe } from '../../src/recipe/load.js'
import { nameModels, oneLineRecipe, yamlText } from '../../src/session/newRecipes/oneLine.js'
import { starterRecipe } from '../../src/session/newRecipes/starter.js'
import { load } from '../../src/session/recipe.js'

const names = (...given: string[]) => nameModels(given, '/w', '/w', () => false).map(({ name }) => name)

test('models are named after their files, with unique names', () => {
  assert.equal(names('a.safetensors', 'models/b', 'x/b.safetensors', './b/'), ['a', 'b', 'b-2', 'b-3'])
  assert.equal(names('math/model.safetensors', 'model.safetensors'), ['math', 'model'])
  assert.equal(names('hf:org/code-7b@5d2f1c0', '..', '/'), ['code-7b', 'model', 'model-2'])
  assert.equal(names('a b\n\u001b[31m.safetensors', '模型.bin'), ['a-b-31m', '模型'])
})

test('references are relative to the recipe’s folder', () => {
  const references = (folder: string, recipeFolder: string, ...given: string[]) =>
    nameModels(given, path.resolve(folder), path.resolve(recipeFolder), () => false).map(({ entry }) => parse(entry))
  assert.equal(references('/w', '/w', './a', '../b', '/c', 'hf:o/n'), ['./a', '../b', '/c', 'hf:o/n'])
  assert.equal(references('/w', '/w/recipes', './a', '../b', '/c', 'hf:o/n'), ['../a', '../../b', '/c', 'hf:o/n'])
  assert.equal(references('/w', '/w/a', 'a'), ['.'])
})

const recipe = (line: Partial<Parameters<typeof oneLineRecipe>[0]>): unknown =>
  parse(oneLineRecipe({ models: ['a', 'b'], output: 'out', method: 'linear', ...line }, '/w', '/w'))

test('flags become a recipe', () => {
  assert.equal(recipe({}), { terge: 1, models: { a: 'a', b: 'b' }, merge: { method: 'linear' }, output: 'out' })
  assert.equal(
    recipe({
      weights: '2, .5',
      param: ['normalize=false', 't=[0,0.5]', 'x=l1'],
      include: ['/a"b\\./'],
      exclude: ['*'],
    }),
    {
      terge: 1,
      models: { a: 'a', b: 'b' },
      filters: { include: ['/a"b\\./'], exclude: ['*'] },
      merge: { method: 'linear', weights: [2, 0.5], parameters: { normalize: false, t: [0, 0.5], x: 'l1' } },
      output: 'out',
    },
  )
})

test('methods that compare models with a base need --base', () => {
  const needy = METHODS.filter(({ base }) => base === 'required' || base === 'listed')
  assert.ok(needy.length >= 20)
  for (const { name, aliases, base } of needy)
    for (const method of [name, ...aliases]) {
      const models = base === 'listed' ? ['a', 'b'] : ['a', 'b', 'c']
      const parameters = method === 'nearswap' ? { param: ['t=0.1'] } : {}
      const text = oneLineRecipe({ models, output: 'o', method, base: 'a', ...parameters }, '/w', '/w')
      const without = oneLineRecipe({ models, output: 'o', method, ...parameters }, '/w', '/w')
      const recipes = [text, without].map((text) => loadRecipe('r.yml', { text }))
      assert.equal(
        recipes.map(({ diagnostics }) => diagnostics.map(({ code }) => code)),
        [[], ['missing-base']],
        method,
      )
    }
  assert.ok(recipe({ method: 'multislerp' }))
})

test('a base that is one of the models is merged; another base only provides tensors', () => {
  assert.equal(recipe({ base: './b' }), {
    terge: 1,
    models: { a: 'a', b: 'b' },
    base: 'b',
    merge: { method: 'linear' },
    output: 'out',
  })
  assert.equal(recipe({ base: 'c' }), {
    terge: 1,
    models: { a: 'a', b: 'b', c: 'c' },
    base: 'c',
    merge: { method: 'linear', models: ['a', 'b'] },
    output: 'out',
  })
})

test('any text survives YAML', () => {
  for (const text of [
    'a',
    'yes',
    'null',
    '1',
    '.5',
    '.inf',
    './1',
    '~',
    '- a',
    'a: b',
    '#',
    '\u2028',
    '\u0085',
    '"',
    "'",
    '\\',
    '\t',
    'é',
    '/abs',
    '*',
    '',
  ])
    assert.is(parse(`- ${yamlText(text)}\n`)[0], text, JSON.stringify(text))
})

test('the starter recipe is valid, commented or not', () => {
  const models = nameModels(['a.safetensors', 'yes', 'x/b'], '/w', '/w', () => false)
  for (const count of [1, 2, 3]) {
    const text = starterRecipe(models.slice(0, count), 'merged', { tensor: 'model.layers.0.w\n#', layers: 4 })
    assert.equal(load('starter.yml', { text }).diagnostics, [])
    // What stands in comments is there to be uncommented.
    const whole = text.replace(
      /^( *)# ( *(?:filters|include|exclude|rules|- match|method|parameters|weights)\b)/gm,
      '$1$2',
    )
    assert.is.not(whole, text)
    assert.equal(load('starter.yml', { text: whole }).diagnostics, [])
  }
})

test('MODEL+ADAPTER applies an adapter, unless something is called so as a whole', () => {
  const models = (given: string, ...there: string[]) =>
    (
      parse(
        oneLineRecipe({ models: [given, 'b'], output: 'out', method: 'linear' }, '/w', '/w', (file) =>
          there.includes(file),
        ),
      ) as { models: unknown }
    ).models
  assert.equal(models('./base+./ad'), { ad: { path: './base', lora: './ad' }, b: 'b' })
  assert.equal(models('hf:o/m@r+hf:o/l@s'), { l: { path: 'hf:o/m@r', lora: 'hf:o/l@s' }, b: 'b' })
  assert.equal(models('c++/m', '/w/c++/m'), { m: 'c++/m', b: 'b' })
  assert.equal(models('c++/m+ad/adapter_model.safetensors', '/w/c++/m'), {
    ad: { path: 'c++/m', lora: 'ad/adapter_model.safetensors' },
    b: 'b',
  })
})

test.run()
