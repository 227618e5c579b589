/** The exact text of errors: methods, merged models, weights, parameters, patterns, rules. */
import { test } from 'uvu'
import { faultTests } from './helpers.js'

faultTests(test, [
  {
    name: 'an unknown method',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: task_arithmetik}
output: ./out
`,
    faults: `
r.yml:3:17: error unknown-method: there is no merge method 'task_arithmetik'
  merge: {method: task_arithmetik}
                  ^^^^^^^^^^^^^^^
  hint: did you mean 'task_arithmetic'?
`,
  },
  {
    name: 'unknown models',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
base: aa
merge: {method: linear, models: [a, bb, nobody]}
output: ./out
`,
    faults: `
r.yml:3:7: error unknown-model: there is no model 'aa'
  base: aa
        ^^
  hint: did you mean 'a'?
r.yml:4:37: error unknown-model: there is no model 'bb'
  merge: {method: linear, models: [a, bb, nobody]}
                                      ^^
  hint: did you mean 'b'?
r.yml:4:41: error unknown-model: there is no model 'nobody'
  merge: {method: linear, models: [a, bb, nobody]}
                                          ^^^^^^
  hint: models: 'a', 'b', 'c'
`,
  },
  {
    name: 'a model that is listed twice',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear, models: [a, b, a]}
output: ./out
`,
    faults: `
r.yml:3:40: error duplicate-model: 'a' is listed twice
  merge: {method: linear, models: [a, b, a]}
                                         ^
  hint: list it once, with the sum of its weights
`,
  },
  {
    name: 'weights of the wrong count',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear, models: [a, b], weights: [1, 2, 3]}
output: ./out
`,
    faults: `
r.yml:3:50: error weight-count: 3 weights are given for 2 models (a, b)
  merge: {method: linear, models: [a, b], weights: [1, 2, 3]}
                                                   ^^^^^^^^^
  hint: give one weight per model, or a mapping by name
`,
  },
  {
    name: 'weights of a model that is not merged',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear, models: [a, b], weights: {a: 1, c: 2}}
output: ./out
`,
    faults: `
r.yml:3:57: error not-a-participant: no merged model is named 'c'
  merge: {method: linear, models: [a, b], weights: {a: 1, c: 2}}
                                                          ^
  hint: merged models: 'a', 'b'
`,
  },
  {
    name: 'weights of the base when models has its default',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: task_arithmetic, weights: {a: 1, b: 2}}
base: a
output: ./out
`,
    faults: `
r.yml:3:44: error not-a-participant: no merged model is named 'a'
  merge: {method: task_arithmetic, weights: {a: 1, b: 2}}
                                             ^
  hint: merged models: 'b', 'c'
`,
  },
  {
    name: 'a weight for a listed base',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: task_arithmetic, models: [a, b, c], weights: {a: 1, b: 2}}
base: a
output: ./out
`,
    faults: `
r.yml:3:63: warning base-weight: task_arithmetic ignores the weight of the base 'a'
  merge: {method: task_arithmetic, models: [a, b, c], weights: {a: 1, b: 2}}
                                                                ^
  hint: remove it: a task-vector method always starts from the whole base
`,
  },
  {
    name: 'no base for a method that compares models with one: a single error',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge:
  method: ties
  weights: [1, 2, 3]
  rules:
    - {match: x, method: nearswap, models: [a, b], parameters: {t: 0.1}}
    - {match: y, models: [b]}
    - {match: z, method: multislerp}
    - {match: u, method: model_stock, models: [a, c]}
output: ./out
`,
    faults: `
r.yml:4:11: error missing-base: ties requires a base model, but the recipe does not name one
    method: ties
            ^^^^
  hint: write base: NAME, the model that the others were fine-tuned from (such as base: a)
r.yml:7:26: error missing-base: nearswap requires a base model, but the recipe does not name one
      - {match: x, method: nearswap, models: [a, b], parameters: {t: 0.1}}
                           ^^^^^^^^
  hint: write base: NAME, the merged model to start from (such as base: a)
r.yml:10:26: error missing-base: model_stock requires a base model, but the recipe does not name one
      - {match: u, method: model_stock, models: [a, c]}
                           ^^^^^^^^^^^
  hint: write base: NAME, the model that the others were fine-tuned from (such as base: b)
`,
  },
  {
    name: 'weights in parameters',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear, models: [a, b, c], parameters: {weight: 0.5}}
output: ./out
`,
    faults: `
r.yml:3:57: error unknown-parameter: 'weight' is not a parameter of linear
  merge: {method: linear, models: [a, b, c], parameters: {weight: 0.5}}
                                                          ^^^^^^
  hint: write weights next to parameters: weights: {MODEL: 0.5}
`,
  },
  {
    name: 'weights for a method that has none',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: slerp, models: [b, c], weights: [1, 2], parameters: {t: 0.5}}
output: ./out
`,
    faults: `
r.yml:3:40: error no-weights: slerp has no weights
  merge: {method: slerp, models: [b, c], weights: [1, 2], parameters: {t: 0.5}}
                                         ^^^^^^^
  hint: use its parameter t
`,
  },
  {
    name: 'numbers in quotes',
    recipe: `
terge: 1
models: {a: ./a, b: ./b}
base: a
merge: {method: ties, weights: {b: "0.5"}, parameters: {density: {b: "1e-1"}, lambda: "3"}}
output: ./out
`,
    faults: `
r.yml:4:36: error bad-type: 'b' must be a number or a list of numbers, not a string
  merge: {method: ties, weights: {b: "0.5"}, parameters: {density: {b: "1e-1"}, lambda: "3"}}
                                     ^^^^^
  hint: write 0.5 without quotes
r.yml:4:70: error bad-parameter: 'density' of 'b' must be a number or a gradient (a list of numbers)
  merge: {method: ties, weights: {b: "0.5"}, parameters: {density: {b: "1e-1"}, lambda: "3"}}
                                                                       ^^^^^^
  hint: write 1e-1 without quotes
r.yml:4:87: error bad-parameter: 'lambda' of ties must be a number or a gradient (a list of numbers)
  merge: {method: ties, weights: {b: "0.5"}, parameters: {density: {b: "1e-1"}, lambda: "3"}}
                                                                                        ^^^
  hint: write 3 without quotes
`,
  },
  {
    name: 'a formula that cannot be read may use the weights',
    recipe: `
terge: 1
models: {a: ./a, b: ./b}
merge: {method: formula, models: [a, b], weights: [1, 2], parameters: {formula: "sum(w * x", k: 2}}
output: ./out
`,
    faults: `
r.yml:3:85: error bad-formula: '(' is never closed
  merge: {method: formula, models: [a, b], weights: [1, 2], parameters: {formula: "sum(w * x", k: 2}}
                                                                                      ^
  hint: add )
`,
  },
  {
    name: 'weights that a formula does not use',
    recipe: `
terge: 1
models: {a: ./a, b: ./b}
merge: {method: formula, models: [a, b], weights: [1, 2], parameters: {formula: mean(x)}}
output: ./out
`,
    faults: `
r.yml:3:42: error no-weights: formula has no weights
  merge: {method: formula, models: [a, b], weights: [1, 2], parameters: {formula: mean(x)}}
                                           ^^^^^^^
  hint: use w in the formula, or remove the weights
`,
  },
  {
    name: 'slerp with three models',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: slerp, parameters: {t: 0.5}}
output: ./out
`,
    faults: `
r.yml:3:17: error model-count: slerp needs exactly 2 models, not 3 (a, b, c)
  merge: {method: slerp, parameters: {t: 0.5}}
                  ^^^^^
  hint: write models: [NAME, …] next to method
`,
  },
  {
    name: 'slerp without t',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: slerp, models: [a, b, c]}
output: ./out
`,
    faults: `
r.yml:3:17: error missing-parameter: slerp requires the parameter 't'
  merge: {method: slerp, models: [a, b, c]}
                  ^^^^^
  hint: write parameters: {t: …}
r.yml:3:32: error model-count: slerp needs exactly 2 models, not 3 (a, b, c)
  merge: {method: slerp, models: [a, b, c]}
                                 ^^^^^^^^^
`,
  },
  {
    name: 'passthrough with two models, linear with one, task vectors with none',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge:
  method: passthrough
  models: [a, b]
  rules:
    - {match: x, method: linear, models: [b]}
    - {match: y, method: task_arithmetic, models: [a]}
base: a
output: ./out
`,
    faults: `
r.yml:5:11: error model-count: passthrough needs exactly 1 model, not 2 (a, b)
    models: [a, b]
            ^^^^^^
r.yml:7:42: error model-count: linear needs at least 2 models, not 1 (b)
      - {match: x, method: linear, models: [b]}
                                           ^^^
r.yml:8:51: error model-count: task_arithmetic needs at least 1 model in addition to the base, not 0
      - {match: y, method: task_arithmetic, models: [a]}
                                                    ^^^
`,
  },
  {
    name: 'unknown and wrong parameters',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: task_arithmetic, parameters: {lamda: 1, normalize: 1, lambda: [1, x]}}
base: a
output: ./out
`,
    faults: `
r.yml:3:47: error unknown-parameter: task_arithmetic has no parameter 'lamda'
  merge: {method: task_arithmetic, parameters: {lamda: 1, normalize: 1, lambda: [1, x]}}
                                                ^^^^^
  hint: did you mean 'lambda'?
r.yml:3:68: error bad-parameter: 'normalize' of task_arithmetic must be true or false
  merge: {method: task_arithmetic, parameters: {lamda: 1, normalize: 1, lambda: [1, x]}}
                                                                     ^
r.yml:3:83: error bad-parameter: 'lambda' of task_arithmetic must be a number or a gradient (a list of numbers)
  merge: {method: task_arithmetic, parameters: {lamda: 1, normalize: 1, lambda: [1, x]}}
                                                                                    ^
`,
  },
  {
    name: 'values per model for a parameter of the whole tensor',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: slerp, models: [a, b], parameters: {t: {a: 0.5}}}
output: ./out
`,
    faults: `
r.yml:3:56: error bad-parameter: 't' of slerp must be a number or a gradient (a list of numbers)
  merge: {method: slerp, models: [a, b], parameters: {t: {a: 0.5}}}
                                                         ^^^^^^^^
`,
  },
  {
    name: 'errors in a parameter with values per model',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: passthrough, models: [a], parameters: {scale: {b: 2, a: x}}}
output: ./out
`,
    faults: `
r.yml:3:64: error not-a-participant: no merged model is named 'b'
  merge: {method: passthrough, models: [a], parameters: {scale: {b: 2, a: x}}}
                                                                 ^
  hint: merged models: 'a'
r.yml:3:73: error bad-parameter: 'scale' of 'a' must be a number or a gradient (a list of numbers)
  merge: {method: passthrough, models: [a], parameters: {scale: {b: 2, a: x}}}
                                                                          ^
`,
  },
  {
    name: 'errors in patterns point at the wrong character',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
filters: {include: "/a(b/", exclude: ['/it''s [z-a]/', "/\\\\d+(?=x)/"]}
merge: {method: linear, rules: [{match: ["//", "/x{9999}/", '']}]}
output: ./out
`,
    faults: `
r.yml:3:22: error bad-pattern: invalid regular expression: missing closing )
  filters: {include: "/a(b/", exclude: ['/it''s [z-a]/', "/\\\\d+(?=x)/"]}
                       ^^^
r.yml:3:48: error bad-pattern: invalid regular expression: invalid character class range
  filters: {include: "/a(b/", exclude: ['/it''s [z-a]/', "/\\\\d+(?=x)/"]}
                                                 ^^^
r.yml:3:62: error bad-pattern: look-ahead and look-behind are not supported: regular expressions must run in linear time
  filters: {include: "/a(b/", exclude: ['/it''s [z-a]/', "/\\\\d+(?=x)/"]}
                                                               ^^^
r.yml:4:43: error bad-pattern: the regular expression is empty
  merge: {method: linear, rules: [{match: ["//", "/x{9999}/", '']}]}
                                            ^^
r.yml:4:50: error bad-pattern: the regular expression is too large once its repetitions are expanded
  merge: {method: linear, rules: [{match: ["//", "/x{9999}/", '']}]}
                                                   ^^^^^^^
r.yml:4:61: error bad-value: 'match[2]' is empty
  merge: {method: linear, rules: [{match: ["//", "/x{9999}/", '']}]}
                                                              ^^
`,
  },
  {
    name: 'errors in rules are not repeated for inherited settings',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge:
  method: slerp
  models: [a, b]
  rules:
    - {match: x}
    - {match: y, parameters: {t: 0.5}}
    - {match: z, method: linear, weights: {c: 1}}
    - {match: w, method: linear, models: [b, c], weights: {c: 1}}
output: ./out
`,
    faults: `
r.yml:4:11: error missing-parameter: slerp requires the parameter 't'
    method: slerp
            ^^^^^
  hint: write parameters: {t: …}
r.yml:9:44: error not-a-participant: no merged model is named 'c'
      - {match: z, method: linear, weights: {c: 1}}
                                             ^
  hint: merged models: 'a', 'b'
`,
  },
])

test.run()
