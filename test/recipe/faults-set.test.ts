/** The exact text of errors: --set. */
import { test } from 'uvu'
import { faultTests } from './helpers.js'

faultTests(test, [
  {
    name: 'errors in replaced and in new values',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear}
output: {path: x}
`,
    set: ['merge.weights.a=x', 'output.dtpye=f16', 'seed=[1', 'output.dtype=f17'],
    faults: `
--set:1:17: error bad-type: 'a' must be a number or a list of numbers, not a string
  merge.weights.a=x
                  ^
--set:1:8: error unknown-key: 'output' has no key 'dtpye'
  output.dtpye=f16
         ^^^^^
  hint: did you mean 'dtype'?
--set:1:8: error syntax: flow sequence must end with a ]
  seed=[1
         ^
--set:1:14: error unknown-dtype: there is no dtype 'f17'
  output.dtype=f17
               ^^^
  hint: did you mean 'f16'?
`,
  },
  {
    name: 'keys that do not exist',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear, models: [a, b]}
output: x
`,
    set: ['output.dtype=f16', 'merge.models[2]=c', 'merge.models.x=c', 'nonsense', '=1', 'a..b=1', 'bogus=1'],
    faults: `
--set:1:8: error bad-override: this value is not a mapping, so it has no key 'dtype'
  output.dtype=f16
         ^^^^^
  hint: set the whole mapping: --set output={path: …, dtype: …}
--set:1:13: error bad-override: the list has no entry '2'
  merge.models[2]=c
              ^^^
  hint: write an index from 0 to 1
--set:1:14: error bad-override: the list has no entry 'x'
  merge.models.x=c
               ^
  hint: write an index from 0 to 1
--set:1:1: error bad-override: 'nonsense' is not KEY=VALUE
  nonsense
  ^^^^^^^^
  hint: write --set merge.weights.math=0.7; quote keys that contain dots
--set:1:1: error bad-override: '=1' is not KEY=VALUE
  =1
  ^^
  hint: write --set merge.weights.math=0.7; quote keys that contain dots
--set:1:1: error bad-override: 'a..b=1' is not KEY=VALUE
  a..b=1
  ^^^^^^
  hint: write --set merge.weights.math=0.7; quote keys that contain dots
--set:1:1: error unknown-key: a recipe has no key 'bogus'
  bogus=1
  ^^^^^
  hint: valid here: 'terge', 'models', 'base', 'filters', 'rebasin', 'merge', 'zip', 'repair', 'steps', 'compute', 'seed', 'tokenizer', and 5 more
`,
  },
])

test.run()
