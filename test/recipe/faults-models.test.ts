/** The exact text of errors: references to models. */
import { test } from 'uvu'
import { faultTests } from './helpers.js'

faultTests(test, [
  {
    name: 'a model without a source, with two sources, or with two revisions',
    recipe: `
terge: 1
models:
  a: {}
  b: {path: ./b, hub: org/b}
  c: {hub: org/c@1, revision: 2}
  d: {path: ./d, revision: main}
  e: hf:nowhere
  f: {path: ./f, lora_scale: 2}
merge: {method: linear}
output: x
`,
    faults: `
r.yml:3:3: error missing-key: the model 'a' has neither a path nor a hub repository
    a: {}
    ^
  hint: write path: or hub: in its mapping
r.yml:4:18: error contradiction: the model 'b' has both a path and a hub repository
    b: {path: ./b, hub: org/b}
                   ^^^
  hint: remove one of them
r.yml:5:21: error contradiction: the model 'c' has two revisions
    c: {hub: org/c@1, revision: 2}
                      ^^^^^^^^
  hint: remove one of them
r.yml:6:18: error contradiction: a revision belongs to a hub repository, not to a path
    d: {path: ./d, revision: main}
                   ^^^^^^^^
  hint: write hub: instead of path:
r.yml:7:6: error bad-value: 'hf:nowhere' is not a hub reference
    e: hf:nowhere
       ^^^^^^^^^^
  hint: write hf:org/name or hf:org/name@revision
r.yml:8:18: error missing-key: lora_scale has no effect without lora
    f: {path: ./f, lora_scale: 2}
                   ^^^^^^^^^^
  hint: add lora: PATH, or remove lora_scale
`,
  },
  {
    name: 'an unused model',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear, models: [a, b]}
output: ./out
`,
    faults: `
r.yml:2:26: warning unused-model: no step uses the model 'c'
  models: {a: ./a, b: ./b, c: ./c}
                           ^
  hint: remove it, or use it in a step
`,
  },
])

test.run()
