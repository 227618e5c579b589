/** All faults of a recipe in one go: a fault of the text, or of one step, hides none of what it has nothing to do with. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
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

test.run()
