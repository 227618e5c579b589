/** Names that mean something to JavaScript, and texts with NUL: names like any other, or an error at their place. */

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const NAMES = ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf']
const [A, B] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`))

/** By what is named: the recipe, and the exit code of running it. */
const recipes: readonly (readonly [what: string, text: (name: string) => string, code: number])[] = [
  ['mergekit method', (n) => `merge_method: ${n}\nmodels: [{model: ${A}}, {model: ${B}}]\n`, 2],
  ['mergekit dtype', (n) => `merge_method: linear\ndtype: ${n}\nmodels: [{model: ${A}, parameters: {weight: 1}}]\n`, 2],
  [
    'mergekit parameter',
    (n) =>
      `merge_method: linear\nmodels: [{model: ${A}, parameters: {weight: 1}}]\nparameters: {${n}: 1, normalize: ${n}}\n`,
    2,
  ],
  ['method', (n) => `terge: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: ${n}}\noutput: o\n`, 2],
  [
    'parameter',
    (n) => `terge: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: linear, parameters: {${n}: 1}}\noutput: o\n`,
    2,
  ],
  [
    'dtype',
    (n) => `terge: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: linear}\noutput: {path: o, dtype: ${n}}\n`,
    2,
  ],
  [
    'size',
    (n) => `terge: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: linear}\noutput: {path: o, shard_size: ${n}}\n`,
    2,
  ],
  ['key', (n) => `terge: 1\n${n}: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: linear}\noutput: o\n`, 2],
  [
    'tokenizer',
    (n) => `terge: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: linear}\ntokenizer: ${n}\noutput: o\n`,
    2,
  ],
  [
    'spec',
    (n) => `terge: 1\nmodels: {a: ${A}, b: ${B}}\nrebasin: {spec: ${n}}\nmerge: {method: linear}\noutput: o\n`,
    2,
  ],
  [
    'model',
    (n) => `terge: 1\nmodels: {${n}: ${A}, b: ${B}}\nmerge: {method: linear, weights: {${n}: 1, b: 2}}\noutput: o\n`,
    0,
  ],
  [
    'step',
    (n) =>
      `terge: 1\nmodels: {a: ${A}, b: ${B}}\nsteps: {${n}: {merge: {method: linear, models: [a, b]}}}\noutput: {path: o, from: ${n}}\n`,
    0,
  ],
  [
    'metadata',
    (n) => `terge: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: linear}\noutput: {path: o, metadata: {${n}: x}}\n`,
    0,
  ],
]

for (const [what, text, code] of recipes)
  test(`${what}: ${NAMES.join(', ')}`, () =>
    inFolder(async (folder) => {
      for (const name of NAMES) {
        writeFileSync(path.join(folder, 'r.yml'), text(name))
        const mergekit = what.startsWith('mergekit') ? ['-o', 'o'] : []
        const ran = await terge(['run', 'r.yml', '--force', '--threads', '1', ...mergekit], folder)
        assert.not.match(ran.err, 'internal', `${what} ${name}`)
        assert.is(ran.code, code, `${what} ${name}: ${ran.err}`)
        if (code === 2) assert.match(ran.err, name)
      }
    }))

test('a text with NUL is refused where it stands', () =>
  inFolder(async (folder) => {
    const recipe = (model: string, output: string, more = '') =>
      `terge: 1\nmodels: {a: ${model}, b: ${B}}\nmerge: {method: linear}\noutput: ${output}\n${more}`
    const cases = [
      recipe('"x\\0y"', 'o'),
      recipe(A!, '"o\\0p"'),
      recipe(A!, '{path: "o\\0p"}'),
      recipe(A!, 'o', 'evaluate: {command: [node, "a\\0b"]}\n'),
      recipe(`{path: ${A}, lora: "l\\0"}`, 'o'),
      recipe('"hf:org/na\\0me"', 'o'),
      `merge_method: linear\nmodels: [{model: "a\\0b", parameters: {weight: 1}}]\n`,
      recipe(A!, 'o', '"ke\\0y": 1\n'),
    ]
    for (const text of cases) {
      writeFileSync(path.join(folder, 'r.yml'), text)
      const ran = await terge(['run', 'r.yml', '--allow-commands', '-o', 'o'], folder)
      assert.is(ran.code, 2, text)
      assert.match(ran.err, /r\.yml:\d+:\d+: error bad-value: a string can’t contain the character U\+0000/)
      assert.not.match(ran.err, 'internal')
    }
    writeFileSync(path.join(folder, 'r.yml'), recipe(A!, 'o'))
    const set = await terge(['run', 'r.yml', '--set', 'output="o\\0p"'], folder)
    assert.is(set.code, 2)
    assert.match(set.err, 'U+0000')
  }))

test.run()
