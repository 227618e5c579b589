/** The exact text of errors: keys, types and values against the schema. */
import { test } from 'uvu'
import { faultTests } from './helpers.js'

faultTests(test, [
  {
    name: 'one error for a number that is not an integer and out of range',
    recipe: `
terge: 1
models: {a: ./a, b: ./b}
merge: {method: linear}
seed: -1.5
output: x
`,
    faults: `
r.yml:4:7: error bad-type: 'seed' must be a non-negative integer, not -1.5
  seed: -1.5
        ^^^^
`,
  },
  {
    name: 'one error for an unknown alignment method',
    recipe: `
terge: 1
models: {a: ./a, b: ./b}
steps:
  al: {rebasin: {model: a, onto: b, method: weight-match}}
output: x
`,
    faults: `
r.yml:4:45: error bad-value: 'method' can't be 'weight-match'
    al: {rebasin: {model: a, onto: b, method: weight-match}}
                                              ^^^^^^^^^^^^
  hint: did you mean 'weight-matching'?
`,
  },
  {
    name: 'five errors in one recipe',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
filtres: {include: [x]}
merge:
  method: liner
  models: [a, b]
  weights: [1, 2, 3]
  rules:
    - {match: "/(/", weights: {a: 1}}
output: {path: ./out, dtype: floaf16}
`,
    faults: `
r.yml:3:1: error unknown-key: a recipe has no key 'filtres'
  filtres: {include: [x]}
  ^^^^^^^
  hint: did you mean 'filters'?
r.yml:5:11: error unknown-method: there is no merge method 'liner'
    method: liner
            ^^^^^
  hint: did you mean 'linear'?
r.yml:7:12: error weight-count: 3 weights are given for 2 models (a, b)
    weights: [1, 2, 3]
             ^^^^^^^^^
  hint: give one weight per model, or a mapping by name
r.yml:9:17: error bad-pattern: invalid regular expression: missing closing )
      - {match: "/(/", weights: {a: 1}}
                  ^
r.yml:10:30: error unknown-dtype: there is no dtype 'floaf16'
  output: {path: ./out, dtype: floaf16}
                               ^^^^^^^
  hint: did you mean 'float16'?
`,
  },
  {
    name: 'no version',
    recipe: `
models: {a: ./a, b: ./b}
merge: {method: linear}
output: x
`,
    faults: `
r.yml:1:1: error missing-key: the recipe needs the key 'terge'
  models: {a: ./a, b: ./b}
  ^^^^^^^^^^^^^^^^^^^^^^^^
  hint: write terge: 1 as its first line
`,
  },
  {
    name: 'a later version',
    recipe: `
terge: 2
modells: x
`,
    faults: `
r.yml:1:8: error unsupported-version: the recipe uses version 2 of the recipe language; this terge reads version 1
  terge: 2
         ^
  hint: update terge, or write terge: 1
`,
  },
  {
    name: 'a version in quotes',
    recipe: `
terge: "1"
models: {a: ./a, b: ./b}
merge: {method: linear}
output: x
`,
    faults: `
r.yml:1:8: error bad-value: 'terge' must be 1, the version of the recipe language
  terge: "1"
         ^^^
  hint: write terge: 1
`,
  },
  {
    name: 'a recipe with only a version',
    recipe: `
terge: 1
`,
    faults: `
r.yml:1:1: error missing-key: the recipe needs the key 'models'
  terge: 1
  ^^^^^^^^
r.yml:1:1: error missing-key: the recipe needs the key 'output'
  terge: 1
  ^^^^^^^^
  hint: write output: ./merged, or pass -o PATH
`,
  },
  {
    name: 'misspelt keys at every level, and errors in their values',
    recipe: `
terge: 1
modles: {a: ./a, b: {pth: ./b}}
merge:
  method: linear
  wieghts: {a: 1, bb: 2}
  rules:
    - {macth: "*.x", weights: [1, 2, 3]}
outptu: {path: x, dytpe: bf15}
`,
    faults: `
r.yml:2:1: error unknown-key: a recipe has no key 'modles'
  modles: {a: ./a, b: {pth: ./b}}
  ^^^^^^
  hint: did you mean 'models'?
r.yml:2:22: error unknown-key: 'b' has no key 'pth'
  modles: {a: ./a, b: {pth: ./b}}
                       ^^^
  hint: did you mean 'path'?
r.yml:5:3: error unknown-key: 'merge' has no key 'wieghts'
    wieghts: {a: 1, bb: 2}
    ^^^^^^^
  hint: did you mean 'weights'?
r.yml:5:19: error not-a-participant: no merged model is named 'bb'
    wieghts: {a: 1, bb: 2}
                    ^^
  hint: did you mean 'b'?
r.yml:7:8: error unknown-key: 'rules[0]' has no key 'macth'
      - {macth: "*.x", weights: [1, 2, 3]}
         ^^^^^
  hint: did you mean 'match'?
r.yml:7:31: error weight-count: 3 weights are given for 2 models (a, b)
      - {macth: "*.x", weights: [1, 2, 3]}
                                ^^^^^^^^^
  hint: give one weight per model, or a mapping by name
r.yml:8:1: error unknown-key: a recipe has no key 'outptu'
  outptu: {path: x, dytpe: bf15}
  ^^^^^^
  hint: did you mean 'output'?
r.yml:8:19: error unknown-key: 'output' has no key 'dytpe'
  outptu: {path: x, dytpe: bf15}
                    ^^^^^
  hint: did you mean 'dtype'?
r.yml:8:26: error unknown-dtype: there is no dtype 'bf15'
  outptu: {path: x, dytpe: bf15}
                           ^^^^
  hint: did you mean 'bf16'?
`,
  },
  {
    name: 'a step at the top level',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
stack: [{model: a, layers: [0, 2]}]
output: ./out
`,
    faults: `
r.yml:3:1: error misplaced-step: a recipe has no key 'stack'
  stack: [{model: a, layers: [0, 2]}]
  ^^^^^
  hint: stack is a step: write it under steps, as NAME: {stack: …}
`,
  },
  {
    name: 'wrong types',
    recipe: `
terge: 1
models: {a: 3, b: [x], c: {path: [1]}}
merge: {method: 5, models: a, weights: heavy, rules: {match: x}, on_missing: yes}
filters: {include: 7, exclude: [1]}
seed: 1.5
output: {path: 1, shard_size: [1], metadata: {x: 1}}
`,
    faults: `
r.yml:2:13: error bad-type: 'a' must be a path, a hub reference, or a mapping, not a number
  models: {a: 3, b: [x], c: {path: [1]}}
              ^
r.yml:2:19: error bad-type: 'b' must be a path, a hub reference, or a mapping, not a list
  models: {a: 3, b: [x], c: {path: [1]}}
                    ^^^
r.yml:2:34: error bad-type: 'path' must be a string, not a list
  models: {a: 3, b: [x], c: {path: [1]}}
                                   ^^^
r.yml:3:17: error bad-type: 'method' must be the name of a merge method, not a number
  merge: {method: 5, models: a, weights: heavy, rules: {match: x}, on_missing: yes}
                  ^
r.yml:3:28: error bad-type: 'models' must be a list of names of models or steps, not a string
  merge: {method: 5, models: a, weights: heavy, rules: {match: x}, on_missing: yes}
                             ^
r.yml:3:40: error bad-type: 'weights' must be a list of numbers, a mapping model → number or gradient, or a shape, not a string
  merge: {method: 5, models: a, weights: heavy, rules: {match: x}, on_missing: yes}
                                         ^^^^^
r.yml:3:54: error bad-type: 'rules' must be a list, not a mapping
  merge: {method: 5, models: a, weights: heavy, rules: {match: x}, on_missing: yes}
                                                       ^^^^^^^^^^
r.yml:3:78: error bad-value: 'on_missing' can't be 'yes'
  merge: {method: 5, models: a, weights: heavy, rules: {match: x}, on_missing: yes}
                                                                               ^^^
  hint: known: 'copy', 'keep', 'error'
r.yml:4:20: error bad-type: 'include' must be a pattern or a list of patterns, not a number
  filters: {include: 7, exclude: [1]}
                     ^
r.yml:4:33: error bad-type: 'exclude[0]' must be a string, not a number
  filters: {include: 7, exclude: [1]}
                                  ^
r.yml:5:7: error bad-type: 'seed' must be a non-negative integer, not 1.5
  seed: 1.5
        ^^^
r.yml:6:16: error bad-type: 'path' must be a string, not a number
  output: {path: 1, shard_size: [1], metadata: {x: 1}}
                 ^
r.yml:6:31: error bad-type: 'shard_size' must be a size such as 5GB, not a list
  output: {path: 1, shard_size: [1], metadata: {x: 1}}
                                ^^^
r.yml:6:50: error bad-type: 'x' must be a string, not a number
  output: {path: 1, shard_size: [1], metadata: {x: 1}}
                                                   ^
`,
  },
  {
    name: 'empty values',
    recipe: `
terge: 1
models: {a: "", b: }
merge:
filters: {include: []}
output: {path: " "}
`,
    faults: `
r.yml:2:13: error bad-value: 'a' is empty
  models: {a: "", b: }
              ^^
r.yml:2:17: error bad-type: 'b' must be a path, a hub reference, or a mapping, not nothing
  models: {a: "", b: }
                  ^
r.yml:3:1: error bad-type: 'merge' must be a mapping, not nothing
  merge:
  ^^^^^
r.yml:4:20: error bad-value: 'include' is an empty list
  filters: {include: []}
                     ^^
r.yml:5:16: error bad-value: 'path' is empty
  output: {path: " "}
                 ^^^
`,
  },
  {
    name: 'values outside their bounds',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear, on_mismatch: resize}
seed: -1
compute: float16
output: {path: x, dtype: bf61, shard_size: 5XB}
`,
    faults: `
r.yml:3:38: error bad-value: 'on_mismatch' can't be 'resize'
  merge: {method: linear, on_mismatch: resize}
                                       ^^^^^^
  hint: known: 'copy', 'error', 'crop'
r.yml:4:7: error bad-value: 'seed' must be at least 0, not '-1'
  seed: -1
        ^^
r.yml:5:10: error bad-value: 'compute' can't be 'float16'
  compute: float16
           ^^^^^^^
  hint: did you mean 'float32'?
r.yml:6:26: error unknown-dtype: there is no dtype 'bf61'
  output: {path: x, dtype: bf61, shard_size: 5XB}
                           ^^^^
  hint: did you mean 'bf16'?
r.yml:6:44: error bad-value: '5XB' is not a size
  output: {path: x, dtype: bf61, shard_size: 5XB}
                                             ^^^
  hint: write 5GB, 512MiB, or bytes
`,
  },
  {
    name: 'a tiny shard',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear}
output: {path: x, shard_size: 10B}
`,
    faults: `
r.yml:4:31: error bad-value: a shard size of 10 B is too small
  output: {path: x, shard_size: 10B}
                                ^^^
  hint: write at least 1000 bytes; 5GB is common
`,
  },
  {
    name: 'sizes and numbers of the wrong type',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear, weights: [1, .inf, x], rules: [{match: x, weights: {a: []}}]}
output: ./out
`,
    faults: `
r.yml:3:38: error bad-type: 'weights[1]' must be a number, not .inf
  merge: {method: linear, weights: [1, .inf, x], rules: [{match: x, weights: {a: []}}]}
                                       ^^^^
r.yml:3:44: error bad-type: 'weights[2]' must be a number, not a string
  merge: {method: linear, weights: [1, .inf, x], rules: [{match: x, weights: {a: []}}]}
                                             ^
r.yml:3:80: error bad-value: 'a' is an empty list
  merge: {method: linear, weights: [1, .inf, x], rules: [{match: x, weights: {a: []}}]}
                                                                                 ^^
`,
  },
])

test.run()
