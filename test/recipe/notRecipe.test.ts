/** A file that is not a recipe has one error, whatever its content. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatDiagnostic } from '../../src/core/diagnostics.js'
import { loadRecipe } from '../../src/recipe/load.js'

const lines = (text: string, name = 'r.yml'): string[] =>
  loadRecipe(name, { text }).diagnostics.map((one) => formatDiagnostic(one).split('\n')[0]!)

test('files of models, files that terge writes, and other files have one error', () => {
  const cases: readonly [object, string][] = [
    [{ architectures: ['LlamaForCausalLM'], dtype: 'bfloat16', model_type: 'llama' }, 'the configuration of a model'],
    [{ _class_name: 'StableDiffusionPipeline', unet: [] }, 'the configuration of a pipeline or of one of its modules'],
    [{ peft_type: 'LORA', r: 8 }, 'the configuration of an adapter'],
    [{ metadata: {}, weight_map: {} }, 'the index of a sharded model'],
    [{ terge: '0.1.0', lineage: 1, models: {}, output: {} }, 'a lineage'],
    [{ lock: 1, terge: '0.1.0', models: {} }, 'the lock file of a recipe'],
  ]
  for (const [content, what] of cases)
    assert.equal(lines(JSON.stringify(content), 'x.json'), [
      `x.json:1:1: error not-a-recipe: 'x.json' is not a recipe: it is ${what}`,
    ])
  assert.equal(lines('services: {web: {image: nginx}}\nvolumes: {}\n'), [
    "r.yml:1:1: error not-a-recipe: 'r.yml' is not a recipe: it has no key of a recipe",
  ])
})

test('a recipe with mistakes is still a recipe', () => {
  for (const text of ['merge: {method: linear}\n', 'modles: {a: ./a}\n', 'terge: 1\nmodel_type: llama\n'])
    assert.not.ok(
      lines(text).some((line) => line.includes('not-a-recipe')),
      text,
    )
})

test.run()
