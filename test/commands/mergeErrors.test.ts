/** Errors before a run: of the flags of terge merge, and of outputs that exist. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const [A, B] = [0, 1].map((seed) => fixture(`digits/mlp256-${seed}.safetensors`))

test('errors of terge merge name the flag', () =>
  inFolder(async (folder) => {
    for (const [flags, flag] of [
      [['--method', 'liner'], '--method'],
      [['--weights', '1,2,3'], '--weights'],
      [['--param', 'sped=1'], '--param'],
      [['--exclude', 'nothing.*'], '--exclude'],
    ] as const) {
      const { code, err } = await terge(['merge', A!, B!, '-o', 'out.safetensors', ...flags], folder)
      assert.is(code, 2, err)
      assert.match(err, new RegExp(`^error [a-z-]+: ${flag}: `))
      assert.not.match(err, 'one line')
    }
    assert.not.match((await terge(['merge', '--help'], folder)).out, 'allow-commands')
  }))

test('hints of terge merge are flags', () =>
  inFolder(async (folder) => {
    for (const [flags, hint] of [
      [['--method', 'slerp'], 'give --param t=…'],
      [['--method', 'passthrough'], 'change the number of models before the flags; --base is not one of them'],
      [['--weights', '1,-1'], 'change the weights, or give --param normalize=false'],
      [['--weights', '1,2,3'], 'give one weight per model'],
      [['--method', 'nearswap', '--param', 't=1'], 'add --base MODEL: the merged model to start from'],
      [['--method', 'ties'], 'add --base MODEL: the model that the others were fine-tuned from'],
    ] as const) {
      const { code, err } = await terge(['merge', A!, B!, '-o', 'out.safetensors', ...flags], folder)
      assert.is(code, 2, err)
      assert.match(err, `\n  hint: ${hint}\n`)
    }
    const { err } = await terge(['merge', A!, B!, '-o', 'out.safetensors', '--method', 'fisher'], folder)
    assert.match(err, /hint: write mlp256-0: \{path: .*statistics: .*\}, in a recipe: terge init writes one\n/)
  }))

test('all outputs that exist are named', () =>
  inFolder(async (folder) => {
    const text = `terge: 1
models: {a: ${A}, b: ${B}}
steps:
  path: {interpolate: {from: a, to: b, at: [0, 1]}}
output: out
`
    writeFileSync(path.join(folder, 'path.yml'), text)
    assert.is((await terge(['run', 'path.yml'], folder)).code, 0)
    const { code, err } = await terge(['run', 'path.yml'], folder)
    assert.is(code, 2)
    assert.is(err.match(/error output-exists: .*t-[01]\.000\.safetensors: exists already/g)?.length, 2, err)
  }))

test.run()
