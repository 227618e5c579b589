/** All faults of a recipe in one go: a fault of the text, or of one step, hides none of what it has nothing to do with. */

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'
import { matrix, writeFolder } from './families.js'

const mlp = (seed: number): string => JSON.stringify(fixture(`digits/mlp256-${seed}.safetensors`))

/** Line and code of every fault that `run` tells, and that it left nothing behind. */
const told = (recipe: string): Promise<string[]> =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'r.yml'), recipe.trimStart())
    const { code, out, err } = await terge(['run', 'r.yml'], folder)
    assert.is(code, 2)
    assert.is(out, '')
    return err.split('\n').flatMap((line) => /^r\.yml:(\d+):\d+: error ([\w-]+)/.exec(line)?.slice(1).join(' ') ?? [])
  })

test('errors of the text and of the headers, also without a known output', async () => {
  const faults = await told(`
terge: 1
models:
  a: ${mlp(0)}
  b: ${mlp(1)}
filters:
  include: ["fc9.*"]
  exclud: ["fc4.*"]
rebasin:
  - {model: b, onto: nobody}
merge:
  method: linearr
  models: [a, bb]
  parameters: {density: 2}
  rules:
    - match: fc1.wieght
      weights: [1, 0]
output: {path: out.safetensors, dtype: bfloat61}
`)
  assert.equal(faults, [
    '6 no-match',
    '7 unknown-key',
    '9 unknown-model',
    '11 unknown-method',
    '12 unknown-model',
    '13 unknown-parameter',
    '15 no-match',
    '17 unknown-dtype',
  ])
})

test('a step that cannot be planned hides only errors of steps that use it', async () => {
  const faults = await told(`
terge: 1
models:
  a: ${mlp(0)}
  b: ${mlp(1)}
  r: ${JSON.stringify(fixture('digits/resnet-0.safetensors'))}
steps:
  turned: {rebasin: {model: r, onto: a, spec: chain}}
  mean: {merge: {method: linear, models: [a, turned], weights: {a: 1, turned: -1}}}
  fixed: {repair: {model: sum, batch_norm: correlation}}
  sum: {merge: {method: linear, models: [a, b], filters: {include: ["nothing.*"]}}}
  none: {merge: {method: linear, models: [a, b], weights: {a: 1, b: -1}}}
  tower: {stack: [{model: a, layers: [0, 9]}]}
outputs:
  - {path: mean.safetensors, from: mean}
  - {path: fixed.safetensors, from: fixed}
  - {path: none.safetensors, from: none}
  - {path: tower.safetensors, from: tower}
`)
  assert.equal(faults, ['7 spec-misfit', '9 no-repair', '10 no-match', '11 zero-weights', '12 bad-layers'])
})

const both = (seed: number): object => ({
  'model.embed_tokens.weight': matrix(seed, 6, 4),
  'model.norm.weight': matrix(seed + 1, 4),
})

/** All that a command tells, of models `a` and `b`, `ad`, an adapter for their head, and `x`, which is like neither. */
const said = (text: string, ...args: string[]): Promise<string> =>
  inFolder(async (folder) => {
    for (const [name, seed] of [
      ['a', 1],
      ['b', 11],
    ] as const)
      writeFolder(path.join(folder, name), {
        'model.safetensors': { tensors: both(seed) as never },
        'config.json': { tie_word_embeddings: true },
      })
    writeFolder(folder, { 'x.safetensors': { tensors: { other: matrix(3, 4) } } })
    writeFolder(path.join(folder, 'ad'), {
      'adapter_model.safetensors': {
        tensors: {
          'base_model.model.lm_head.lora_A.weight': matrix(5, 2, 4),
          'base_model.model.lm_head.lora_B.weight': matrix(6, 6, 2),
        },
      },
      'adapter_config.json': { peft_type: 'LORA', r: 2, lora_alpha: 2, target_modules: ['lm_head'] },
    })
    writeFolder(path.join(folder, 'null'), {
      'adapter_model.safetensors': {
        tensors: {
          'base_model.model.model.embed_tokens.lora_embedding_A': matrix(5, 2, 6),
          'base_model.model.model.embed_tokens.lora_embedding_B': matrix(6, 4, 2),
        },
      },
      'adapter_config.json': '{"peft_type": "LORA", "r": 2, "lora_alpha": null, "target_modules": ["embed_tokens"]}',
    })
    writeFileSync(path.join(folder, 'r.yml'), `terge: 1\n${text}`)
    const { out, err } = await terge(args.length > 0 ? args : ['validate', 'r.yml'], folder)
    return out + err
  })

const mean = 'merge: {method: linear}\noutput: {path: out}\n'
const errorsOf = (text: string): string[] =>
  [...text.matchAll(/^(r\.yml:\d+:\d+: error .*)$/gm)].map(([, line]) => line!)

/** Parts of a recipe with six faulty steps, one a line, and one more model on line 6. A case puts others in their places. */
const PARTS = {
  model: `c: ${mlp(2)}`,
  tower: '{stack: [{model: a, layers: [0, 9]}]}',
  far: '{merge: {method: linear, models: [a, c], on_mismatch: error}}',
  over: '{merge: {method: linear, models: [far, turned], weights: {far: 1, turned: -1}}}',
  first: 'tower',
}
const recipeOf = (changes: Partial<typeof PARTS>): string => {
  const { model, tower, far, over, first } = { ...PARTS, ...changes }
  return `
terge: 1
models:
  a: ${mlp(0)}
  b: ${mlp(1)}
  r: ${JSON.stringify(fixture('digits/resnet-0.safetensors'))}
  ${model}
steps:
  tower: ${tower}
  taken: {extract: {lora: {from: b, base: a, rank: 4, include: ["nothing"]}}}
  turned: {rebasin: {model: r, onto: a, spec: chain}}
  odd: {rebasin: {model: b, onto: a, spec: lama}}
  none: {merge: {method: linear, models: [a, b], weights: {a: 1, b: -1}}}
  far: ${far}
  over: ${over}
outputs:
  - {path: 1.safetensors, from: ${first}}
  - {path: two, from: taken}
  - {path: 3.safetensors, from: odd}
  - {path: 4.safetensors, from: none}
  - {path: 5.safetensors, from: over}
`
}
const TOWER = '8 bad-layers'
const OTHERS = ['9 no-match', '10 spec-misfit', '11 spec-family', '12 zero-weights']

for (const [what, changes, expected] of [
  ['a model that can not be opened', { model: 'c: ./nowhere' }, ['6 missing-model', TOWER, ...OTHERS]],
  ['a model without a key', { model: `c: {path: ${mlp(2)}, lora_scale: 2}` }, ['6 missing-key', TOWER, ...OTHERS]],
  ['a model that is a number', { model: 'c: 3' }, ['6 bad-type', TOWER, ...OTHERS]],
  ['a step with an unknown key', { far: PARTS.far.replace('models', 'modles') }, [TOWER, ...OTHERS, '13 unknown-key']],
  ['a step with an empty list', { tower: '{stack: []}' }, ['8 bad-value', ...OTHERS]],
  [
    'points that are no numbers',
    {
      far: '{interpolate: {from: a, to: b, at: [x, y]}}',
      over: '{merge: {method: linear, models: [a, c]}}',
    },
    [TOWER, ...OTHERS, '13 bad-type', '13 bad-type'],
  ],
  [
    'steps in a circle, an output of nothing',
    { far: PARTS.far.replace('[a, c]', '[a, over]'), first: 'nothing' },
    [TOWER, ...OTHERS, '14 cycle', '16 unknown-model'],
  ],
  // Nobody knows which of the two is meant: steps over it are not looked at.
  [
    'two models of one name',
    { model: `a: ${mlp(2)}`, far: PARTS.far.replace('[a, c]', '[a, b]') },
    ['6 duplicate-key', '9 no-match'],
  ],
] as const satisfies readonly (readonly [string, Partial<typeof PARTS>, readonly string[]])[])
  test(`this hides no fault of other steps: ${what}`, async () => {
    assert.equal(await told(recipeOf(changes)), expected)
  })

// What a short form takes from beside it is its own.
for (const [what, more, expected] of [
  ['nothing else', '', ['3 zero-weights']],
  ['filters that are a number', 'filters: 3\n', ['5 bad-type']],
  ['an unknown key', 'sede: 3\n', ['3 zero-weights', '5 unknown-key']],
] as const)
  test(`the faults of a short form with ${what}`, async () => {
    const short = `\nterge: 1\nmodels: {a: ${mlp(0)}, b: ${mlp(1)}}\nmerge: {method: linear, weights: [1, -1]}\noutput: {path: o}\n`
    assert.equal(await told(short + more), expected)
  })

test('one error of a model is reported once, at its place', async () => {
  assert.equal(errorsOf(await said(`models: {a: a, u: {lora: ad}}\n${mean}`)), [
    "r.yml:2:16: error missing-key: the model 'u' has neither a path nor a hub repository",
  ])
  const noAdapter = errorsOf(await said(`models: {a: a, v: {path: b, lora: b}}\n${mean}`))
  assert.is(noAdapter.length, 1, noAdapter.join())
  assert.match(noAdapter[0]!, 'no-adapter: v.lora: it has no adapter_config.json')
  assert.equal(errorsOf(await said(`models: {a: a, b: {path: b, subfolder: foo}}\n${mean}`)), [
    "r.yml:2:40: error missing-model: b has no folder 'foo'",
  ])
  const twice = errorsOf(await said(`models:\n  a: a\n  a: b\n${mean}`))
  assert.equal(twice, ["r.yml:4:3: error duplicate-key: 'a' is written twice in one mapping"])
  const nothing = errorsOf(await said(`models: {a: a, b: {path: a, lora: null}}\n${mean}`.replace('null', "'null'")))
  assert.is(nothing.length, 1, nothing.join())
  assert.match(nothing[0]!, 'bad-adapter: b.lora: adapter_config.json: lora_alpha is null, not a number')
})

test('hints for a pattern, a step that is not a model, a model without a part', async () => {
  const steps = (merge: string) => `models: {a: a, b: b}
steps:
  e2: {extract: {lora: {from: a, base: b, rank: 2}}}
  i: {interpolate: {from: a, to: b, at: [0.5]}}
  m: {merge: ${merge}}
outputs: [{path: out, from: m}, {path: ad2, from: e2}, {path: i, from: i}]
`
  assert.equal(errorsOf(await said(steps('{method: linear, models: [a, e2, i]}'))), [
    "r.yml:6:43: error not-a-model: 'e2' is an adapter, not a model that a step can use",
    "r.yml:6:47: error not-a-model: 'i' is a series of checkpoints, not a model that a step can use",
  ])
  const filtered = steps('{method: linear, models: [a, b], filters: {include: nothing}}')
  assert.match(await said(filtered), "the pattern 'nothing' matches no tensor of the base 'a'")
  assert.match(
    await said(`models: {a: a, b: b, x: x.safetensors}\n${mean}`),
    "r.yml:2:22: warning unused-model: 'x' is not used by 'merge': it shares no merged tensor with the base 'a'",
  )
  assert.not.match(await said(`models: {a: a, b: b}\n${mean}`), 'unused-model')
})

test('init takes a model with an adapter, as merge does', async () => {
  const text = await said('', 'init', 'a+null', 'b')
  assert.match(text, '  "null": {path: a, lora: "null"}\n  b: b\n')
  assert.match(await said('', 'init', 'a+nowhere', 'b'), 'missing-model: nowhere')
})

test.run()
