/** The exact text of errors: short and long form, the graph, outputs, and kinds of steps. */
import { test } from 'uvu'
import { faultTests } from './helpers.js'

faultTests(test, [
  {
    name: 'short and long form at once',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear}
steps: {x: {merge: {method: linear}}}
output: ./out
`,
    faults: `
r.yml:3:1: error contradiction: a recipe can't have both 'merge' (the short form) and 'steps' (the long form)
  merge: {method: linear}
  ^^^^^
  hint: move merge into steps, as NAME: {merge: …}
`,
  },
  {
    name: 'base and filters both in the recipe and in merge',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
base: a
filters: {include: x}
merge: {method: linear, base: b, filters: {exclude: y}}
output: ./out
`,
    faults: `
r.yml:5:25: error contradiction: 'base' is set both in the recipe and in merge
  merge: {method: linear, base: b, filters: {exclude: y}}
                          ^^^^
  hint: remove one of them
r.yml:5:34: error contradiction: 'filters' is set both in the recipe and in merge
  merge: {method: linear, base: b, filters: {exclude: y}}
                                   ^^^^^^^
  hint: remove one of them
`,
  },
  {
    name: 'a step with the name of a model',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
steps: {a: {merge: {method: linear}}}
output: ./out
`,
    faults: `
r.yml:3:9: error name-taken: 'a' is already the name of a model
  steps: {a: {merge: {method: linear}}}
          ^
  hint: give the step another name
`,
  },
  {
    name: 'a step with two kinds, and a step with none',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
steps:
  x: {merge: {method: linear}, repair: {model: a, batch_norm: correlation}}
  y: {}
output: ./out
`,
    faults: `
r.yml:4:32: error contradiction: the step 'x' has 'merge' and 'repair'; a step must have exactly one of them
    x: {merge: {method: linear}, repair: {model: a, batch_norm: correlation}}
                                 ^^^^^^
  hint: split it into two steps; the second one uses the first by name
r.yml:5:3: error bad-value: 'y' is empty
    y: {}
    ^
`,
  },
  {
    name: 'a cycle',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
steps:
  x: {merge: {method: linear, models: [a, y]}}
  y: {merge: {method: linear, models: [b, z]}}
  z: {merge: {method: linear, models: [c, x]}}
output: ./out
`,
    faults: `
r.yml:6:43: error cycle: steps depend on each other in a cycle: x → y → z → x
    z: {merge: {method: linear, models: [c, x]}}
                                            ^
  hint: change one of these steps so that it uses none of the others
`,
  },
  {
    name: 'a step that uses itself',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
steps: {x: {merge: {method: linear, models: [a, x]}}}
output: ./out
`,
    faults: `
r.yml:3:49: error cycle: steps depend on each other in a cycle: x → x
  steps: {x: {merge: {method: linear, models: [a, x]}}}
                                                  ^
  hint: change one of these steps so that it uses none of the others
`,
  },
  {
    name: 'an output that could have several steps',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
steps:
  x: {merge: {method: linear}}
  y: {merge: {method: slerp, models: [a, b], parameters: {t: 0}}}
output: ./out
`,
    faults: `
r.yml:6:1: error ambiguous-output: this output has no 'from', and several steps have unused results: 'x', 'y'
  output: ./out
  ^^^^^^
  hint: write from: x
`,
  },
  {
    name: 'a step that no output needs',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
steps:
  x: {merge: {method: linear}}
  y: {merge: {method: linear, models: [x, a]}}
output: {path: x, from: x}
`,
    faults: `
r.yml:5:3: warning unused-step: no output needs the step 'y'
    y: {merge: {method: linear, models: [x, a]}}
    ^
  hint: remove it, or write its result to an output with from: NAME
`,
  },
  {
    name: 'unknown step',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
steps:
  soup: {merge: {method: linear}}
  last: {merge: {method: linear, models: [suop, a]}}
output: ./out
`,
    faults: `
r.yml:5:43: error unknown-model: there is no model or step 'suop'
    last: {merge: {method: linear, models: [suop, a]}}
                                            ^^^^
  hint: did you mean 'soup'?
`,
  },
  {
    name: 'a recipe without steps',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
output: ./out
`,
    faults: `
r.yml:1:1: error missing-key: the recipe has no step
  terge: 1
  ^^^^^^^^
  hint: write merge: {method: linear}, or add steps
`,
  },
  {
    name: 'no output',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear}
`,
    faults: `
r.yml:1:1: error missing-key: the recipe needs the key 'output'
  terge: 1
  ^^^^^^^^
  hint: write output: ./merged, or pass -o PATH
`,
  },
  {
    name: 'output and outputs',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear}
output: x
outputs: [{path: y}]
`,
    faults: `
r.yml:4:1: error contradiction: the recipe has both output and outputs
  output: x
  ^^^^^^
  hint: move output into the list of outputs
`,
  },
  {
    name: 'two outputs with the same path',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear}
outputs: [{path: y}, {path: ./y, dtype: f16}]
`,
    faults: `
r.yml:4:29: error contradiction: two outputs have the path './y'
  outputs: [{path: y}, {path: ./y, dtype: f16}]
                              ^^^
  hint: give each output its own path
`,
  },
  {
    name: 'interpolate with points and at, or with neither',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
steps:
  x: {interpolate: {from: a, to: b, points: 3, at: [0, 1]}}
  y: {interpolate: {from: a, to: b}}
output: {from: y, path: x}
`,
    faults: `
r.yml:4:48: error contradiction: interpolate can’t have both points and at
    x: {interpolate: {from: a, to: b, points: 3, at: [0, 1]}}
                                                 ^^
  hint: points spreads the values evenly, at lists them; remove one of the two
r.yml:5:7: error missing-key: interpolate needs 'points' or 'at'
    y: {interpolate: {from: a, to: b}}
        ^^^^^^^^^^^
  hint: write points: 11, or at: [0, 0.5, 1]
`,
  },
  {
    name: 'rebasin without a target, onto itself, and joint',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
rebasin:
  - {model: a}
  - {model: b, onto: b}
  - {models: [a, b], onto: c, method: c2m3}
  - {models: [a, b]}
  - {model: a, onto: b, method: merge-many}
merge: {method: linear}
output: ./out
`,
    faults: `
r.yml:4:5: error missing-key: rebasin needs the key 'onto'
    - {model: a}
      ^^^^^^^^^^
  hint: write onto: NAME, or permutations: FILE
r.yml:5:22: error contradiction: rebasin aligns 'b' onto itself
    - {model: b, onto: b}
                       ^
  hint: name two different models
r.yml:6:22: error contradiction: rebasin can’t have both models and onto
    - {models: [a, b], onto: c, method: c2m3}
                       ^^^^
  hint: the models are aligned jointly, onto the first one
r.yml:7:14: error contradiction: weight-matching can’t align several models jointly
    - {models: [a, b]}
               ^^^^^^
  hint: use method: merge-many or c2m3
r.yml:8:33: error contradiction: merge-many aligns several models jointly
    - {model: a, onto: b, method: merge-many}
                                  ^^^^^^^^^^
  hint: write models: [a, b, c]
`,
  },
  {
    name: 'layers that are not a range',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
steps: {x: {stack: [{model: a, layers: [3, 3]}, {model: b, layers: [1]}, {model: q, layers: [-1, 2]}]}}
output: ./out
`,
    faults: `
r.yml:3:40: error bad-value: the range [3, 3] has no layers
  steps: {x: {stack: [{model: a, layers: [3, 3]}, {model: b, layers: [1]}, {model: q, layers: [-1, 2]}]}}
                                         ^^^^^^
  hint: ranges are half-open: [0, 24] is layers 0 to 23
r.yml:3:68: error bad-value: 'layers' must be a half-open range of layers [from, to], not 1
  steps: {x: {stack: [{model: a, layers: [3, 3]}, {model: b, layers: [1]}, {model: q, layers: [-1, 2]}]}}
                                                                     ^^^
r.yml:3:82: error unknown-model: there is no model or step 'q'
  steps: {x: {stack: [{model: a, layers: [3, 3]}, {model: b, layers: [1]}, {model: q, layers: [-1, 2]}]}}
                                                                                   ^
  hint: models: 'a', 'b', 'c', 'x'
r.yml:3:94: error bad-value: 'layers[0]' must be at least 0, not '-1'
  steps: {x: {stack: [{model: a, layers: [3, 3]}, {model: b, layers: [1]}, {model: q, layers: [-1, 2]}]}}
                                                                                               ^^
`,
  },
  {
    name: 'repair without a model',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
repair: {batch_norm: correlation}
output: ./out
`,
    faults: `
r.yml:3:1: error missing-key: repair needs the key 'model'
  repair: {batch_norm: correlation}
  ^^^^^^
  hint: write model: NAME, the merge step to repair
`,
  },
])

test.run()
