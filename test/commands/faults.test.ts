/** All faults of a recipe in one go: a fault of the text, or of one step, hides none of what it has nothing to do with. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { matrix, writeFolder } from './families.js'
import { fixture, inFolder, terge } from './terge.js'

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

test('faults of the text and of the headers, also where no output can be told', async () => {
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

test('a step that can not be planned hides only what is built on it', async () => {
  const faults = await told(`
terge: 1
models:
  a: ${mlp(0)}
  b: ${mlp(1)}
  r: ${JSON.stringify(fixture('digits/resnet-0.safetensors'))}
steps:
  turned: {rebasin: {model: r, onto: a}}
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

test('faults of the text, of models and of filters hide none of steps that have nothing to do with them', async () => {
  const steps = (more: string) => `
terge: 1
models:
  a: ${mlp(0)}
  b: ${mlp(1)}
  r: ${JSON.stringify(fixture('digits/resnet-0.safetensors'))}
${more}
steps:
  tower: {stack: [{model: a, layers: [0, 9]}]}
  taken: {extract: {lora: {from: b, base: a, rank: 4, include: ["nothing"]}}}
  turned: {rebasin: {model: r, onto: a}}
  odd: {rebasin: {model: b, onto: a, spec: lama}}
  none: {merge: {method: linear, models: [a, b], weights: {a: 1, b: -1}}}
  far: {merge: {method: linear, models: [a, c], on_mismatch: error}}
  over: {merge: {method: linear, models: [far, turned], weights: {far: 1, turned: -1}}}
outputs:
  - {path: 1.safetensors, from: tower}
  - {path: two, from: taken}
  - {path: 3.safetensors, from: odd}
  - {path: 4.safetensors, from: none}
  - {path: 5.safetensors, from: over}
`
  const ofSteps = ['8 bad-layers', '9 no-match', '10 spec-misfit', '11 spec-family', '12 zero-weights']
  // A model that can't be opened, one with a fault in its text, a step with one.
  assert.equal(await told(steps('  c: ./nowhere')), ['6 missing-model', ...ofSteps])
  assert.equal(await told(steps(`  c: {path: ${mlp(2)}, lora_scale: 2}`)), ['6 missing-key', ...ofSteps])
  const step = await told(steps(`  c: ${mlp(2)}`).replace('models: [a, c]', 'modles: [a, c]'))
  assert.equal(step, [...ofSteps, '13 unknown-key'])
  // Circles, outputs of nothing, steps that are none.
  const odd = steps(`  c: ${mlp(2)}`)
    .replace('models: [a, c]', 'models: [a, over]')
    .replace('from: tower', 'from: nothing')
  const [, ...others] = ofSteps
  assert.equal(await told(odd), [...ofSteps, '14 cycle', '16 unknown-model'])
  assert.equal(await told(steps('  c: 3').replace('{stack: [{model: a, layers: [0, 9]}]}', '{stack: []}')), [
    '6 bad-type',
    '8 bad-value',
    ...others,
  ])
  const points = steps(`  c: ${mlp(2)}`).replace(
    'far: {merge: {method: linear, models: [a, c], on_mismatch: error}}',
    'far: {interpolate: {from: a, to: b, at: [x, y]}}',
  )
  assert.equal(await told(points.replace('models: [far, turned], weights: {far: 1, turned: -1}', 'models: [a, c]')), [
    ...ofSteps,
    '13 bad-type',
    '13 bad-type',
  ])
  // Of two of one name nobody knows which is meant.
  assert.equal(await told(steps(`  a: ${mlp(2)}`).replace('models: [a, c]', 'models: [a, b]')), [
    '6 duplicate-key',
    '9 no-match',
  ])
  // What a short form takes from beside it is its own.
  const short = `\nterge: 1\nmodels: {a: ${mlp(0)}, b: ${mlp(1)}}\nmerge: {method: linear, weights: [1, -1]}\noutput: {path: o}\n`
  assert.equal(await told(short), ['3 zero-weights'])
  assert.equal(await told(`${short}filters: 3\n`), ['5 bad-type'])
  assert.equal(await told(`${short}sede: 3\n`), ['3 zero-weights', '5 unknown-key'])
})

test('one fault of a model is told once, where it is', async () => {
  assert.equal(errorsOf(await said(`models: {a: a, u: {lora: ad}}\n${mean}`)), [
    "r.yml:2:16: error missing-key: the model 'u' has neither a path nor a hub repository",
  ])
  const noAdapter = errorsOf(await said(`models: {a: a, v: {path: b, lora: b}}\n${mean}`))
  assert.is(noAdapter.length, 1, noAdapter.join())
  assert.match(noAdapter[0]!, 'no-adapter: v.lora: there is no adapter_config.json')
  assert.equal(errorsOf(await said(`models: {a: a, b: {path: b, subfolder: foo}}\n${mean}`)), [
    "r.yml:2:40: error missing-model: b: there is no folder 'foo' in it",
  ])
  const twice = errorsOf(await said(`models:\n  a: a\n  a: b\n${mean}`))
  assert.equal(twice, ["r.yml:4:3: error duplicate-key: 'a' is written twice in one mapping"])
  const nothing = errorsOf(await said(`models: {a: a, b: {path: a, lora: null}}\n${mean}`.replace('null', "'null'")))
  assert.is(nothing.length, 1, nothing.join())
  assert.match(nothing[0]!, 'bad-adapter: b.lora: adapter_config.json: lora_alpha is null, not a number')
})

test('hints say what is meant: a pattern, a step that is no model, a model without a part', async () => {
  const steps = (merge: string) => `models: {a: a, b: b}
steps:
  e2: {extract: {lora: {from: a, base: b, rank: 2}}}
  i: {interpolate: {from: a, to: b, at: [0.5]}}
  m: {merge: ${merge}}
outputs: [{path: out, from: m}, {path: ad2, from: e2}, {path: i, from: i}]
`
  assert.equal(errorsOf(await said(steps('{method: linear, models: [a, e2, i]}'))), [
    "r.yml:6:43: error not-a-model: 'e2' is an adapter, not a model that a step can use",
    "r.yml:6:47: error not-a-model: 'i' is a path of several checkpoints, not a model that a step can use",
  ])
  const filtered = steps('{method: linear, models: [a, b], filters: {include: nothing}}')
  assert.match(await said(filtered), "the pattern 'nothing' matches no tensor of the base 'a'")
  assert.match(
    await said(`models: {a: a, b: b, x: x.safetensors}\n${mean}`),
    "r.yml:2:22: warning unused-model: 'x' has no part in 'merge': it shares no merged tensor with the base 'a'",
  )
  assert.not.match(await said(`models: {a: a, b: b}\n${mean}`), 'unused-model')
})

test('init takes a model with an adapter, as merge does', async () => {
  const text = await said('', 'init', 'a+null', 'b')
  assert.match(text, '  "null": {path: a, lora: "null"}\n  b: b\n')
  assert.match(await said('', 'init', 'a+nowhere', 'b'), 'missing-model: nowhere')
})

test.run()
