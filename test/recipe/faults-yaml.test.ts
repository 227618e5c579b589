/** The exact text of errors: YAML that is unsafe, ambiguous or broken. */
import { test } from 'uvu'
import { faultTests } from './helpers.js'

faultTests(test, [
  {
    name: 'an empty file',
    recipe: `
# nothing yet
`,
    faults: `
r.yml:1:1: error syntax: the recipe is empty
  # nothing yet
  ^
  hint: start with terge: 1, or run terge init
`,
  },
  {
    name: 'a list at the root',
    recipe: `
- terge: 1
`,
    faults: `
r.yml:1:1: error bad-type: a recipe must be a mapping
  - terge: 1
  ^^^^^^^^^^
  hint: start with terge: 1
`,
  },
  {
    name: 'an unclosed bracket',
    recipe: `
terge: 1
models: {a: ./a
merge: x
`,
    faults: `
r.yml:3:1: error syntax: flow map in block collection must be sufficiently indented and end with a }
  merge: x
  ^
`,
  },
  {
    name: 'a tab',
    recipe: `
terge: 1
models:
\ta: ./a
`,
    faults: `
r.yml:3:1: error syntax: tabs are not allowed as indentation
  \ta: ./a
  ^
  hint: indent with spaces
`,
  },
  {
    name: 'wrong indentation',
    recipe: `
terge: 1
models:
  a: ./a
   b: ./b
`,
    faults: `
r.yml:3:6: error syntax: nested mappings are not allowed in compact mappings
    a: ./a
       ^
  hint: check the indentation, and quote any string that contains ": "
`,
  },
  {
    name: 'an unquoted colon',
    recipe: `
terge: 1
models: {a: ./a}
output: out: x
`,
    faults: `
r.yml:3:9: error syntax: nested mappings are not allowed in compact mappings
  output: out: x
          ^
  hint: check the indentation, and quote any string that contains ": "
`,
  },
  {
    name: 'a duplicate key',
    recipe: `
terge: 1
models: {a: ./a, b: ./b}
merge:
  method: linear
  method: slerp
output: x
`,
    faults: `
r.yml:5:3: error duplicate-key: 'method' is written twice in one mapping
    method: slerp
    ^^^^^^
  hint: first on line 4
`,
  },
  {
    name: 'a merge key',
    recipe: `
terge: 1
models: &m {a: ./a, b: ./b}
merge: {<<: *m, method: linear}
output: x
`,
    faults: `
r.yml:3:9: error merge-key: the recipe language does not support the merge key <<
  merge: {<<: *m, method: linear}
          ^^
  hint: write its keys in full; an alias can only replace a whole value
`,
  },
  {
    name: 'keys that are not strings',
    recipe: `
terge: 1
models: {a: ./a, 1: ./b}
merge: {method: linear, models: [a, a]}
output: x
`,
    faults: `
r.yml:2:18: error bad-key: keys must be strings
  models: {a: ./a, 1: ./b}
                   ^
  hint: put it in quotes: "1"
r.yml:3:37: error duplicate-model: 'a' is listed twice
  merge: {method: linear, models: [a, a]}
                                      ^
  hint: list it once, with the sum of its weights
`,
  },
  {
    name: 'a mapping as key',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, {x: 1}: ./b}
merge: {method: linear}
output: x
`,
    faults: `
r.yml:2:26: error bad-key: keys must be strings
  models: {a: ./a, b: ./b, {x: 1}: ./b}
                           ^^^^^^
`,
  },
  {
    name: 'an unknown alias',
    recipe: `
terge: 1
models: {a: ./a, b: *nope}
merge: {method: linear}
output: x
`,
    faults: `
r.yml:2:21: error bad-alias: the alias '*nope' refers to no earlier anchor
  models: {a: ./a, b: *nope}
                      ^^^^^
  hint: define it first with &NAME, or write the value in full
`,
  },
  {
    name: 'an alias in its own value',
    recipe: `
terge: 1
models: {a: ./a, b: ./b}
merge: {method: linear, rules: &r [{match: x, models: *r}]}
output: x
`,
    faults: `
r.yml:3:55: error bad-alias: the alias '*r' is inside the value that it refers to
  merge: {method: linear, rules: &r [{match: x, models: *r}]}
                                                        ^^
  hint: write the value in full
`,
  },
  {
    name: 'an unknown tag',
    recipe: `
terge: 1
models: {a: !file ./a, b: ./b}
merge: {method: linear}
output: x
`,
    faults: `
r.yml:2:13: error syntax: Unresolved tag: !file
  models: {a: !file ./a, b: ./b}
              ^^^^^
  hint: remove the tag
`,
  },
  {
    name: 'a YAML 1.1 document',
    recipe: `
%YAML 1.1
---
terge: 1
`,
    faults: `
r.yml:1:1: error syntax: recipes are YAML 1.2, not 1.1
  %YAML 1.1
  ^
  hint: remove the %YAML line
`,
  },
  {
    name: 'two documents',
    recipe: `
terge: 1
models: {a: ./a, b: ./b, c: ./c}
merge: {method: linear}
output: ./out
---
terge: 1
`,
    faults: `
r.yml:1:1: error several-documents: a recipe must be one YAML document
  terge: 1
  ^^^^^^^^
  hint: remove everything after the second ---
`,
  },
  {
    name: 'a control character',
    recipe: `
terge: 1
models: {a: "\u001b[31m"}
`,
    faults: `
r.yml:2:14: error syntax: YAML does not allow the control character U+001B
  models: {a: "�[31m"}
               ^
  hint: remove it, and make sure that the file is a text file
`,
  },
])

test.run()
