/** Errors of `search` in recipes, with their places; and texts of best recipes. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { validate } from '../../src/index.js'
import { editedText } from '../../src/language/edit.js'

const recipe = (search: string): string => `terge: 1
models: {base: base.safetensors, m: m.safetensors, n: n.safetensors}
base: base
merge: {method: ties, weights: {m: &w 0.5, n: 1}, parameters: {lambda: *w, density: 0.5}}
output: out.safetensors
evaluate: {command: [x]}
search:
  objective: {minimize: loss}
  ${search}
`

/** What is wrong, and where: `line:column code message`. */
async function errors(search: string): Promise<string[]> {
  const { diagnostics } = await validate('r.yml', { text: recipe(search), models: false })
  return diagnostics.map(({ place, code, message }) => `${place?.line}:${place?.column} ${code} ${message}`)
}

const METHOD = 'method: random\n  trials: 5'
const of = (parameters: string, rest = METHOD): string => `parameters: {${parameters}}\n  ${rest}`

for (const [search, ...expected] of [
  [of('merge.weights.k: [1, 2]'), "9:16 unknown-key the recipe has no value at 'merge.weights.k'"],
  [of('merge.method: {range: [0, 1]}'), "9:16 bad-value the recipe's value at 'merge.method' is not a number"],
  [of('merge.weights: [1, 2]'), "9:16 bad-value 'merge.weights' is a mapping, not one value"],
  [of('merge.weights.m: [1, 2]'), "9:16 bad-value 'merge.weights.m' is an alias, so several values would change"],
  [of('merge.weights.n: {range: [1, 0]}'), '9:41 bad-value the range from 1 to 0 is empty'],
  [of('merge.weights.n: {range: [0, 1], log: true}'), '9:41 bad-value with log, low must be above 0, not 0'],
  [of('merge.weights.n: {range: [0, 1], step: 2}'), '9:55 bad-value step must be above 0 and at most 1, not 2'],
  [of('merge.weights.n: {range: [0, .inf]}'), "9:45 bad-type 'range[1]' must be a number, not .inf"],
  [of('merge.weights.n: [1, 1]'), "9:37 bad-value the value '1' is in the list twice"],
  [of('output: [a, b]'), "9:16 bad-value 'output' is where the result is written"],
  [of('search.seed: [1, 2]'), "9:16 bad-value 'search.seed' is a part of the search itself"],
  [
    of('merge.method: [ties, dare_ties]', 'method: cma-es\n  trials: 5'),
    '9:30 bad-value cma-es searches ranges of numbers, and this is a list of values',
  ],
  [
    of('merge.weights.n: [1, 2, 3]', 'method: grid\n  trials: 2'),
    '10:11 bad-value the grid has 3 points, more than 2 trials',
  ],
  [of('merge.weights.n: [1, 2]', 'method: tpe'), "7:1 missing-key 'search' needs the key 'trials'"],
  [of('merge.weights.n: [1, 2]'), ...[]],
] as const)
  test(search.replaceAll('\n', ' '), async () => assert.equal(await errors(search), expected))

test('values change in the text, and the search goes with its comments', () => {
  const edits = [{ to: ['a', 'b'], value: 0.25 }]
  const block = '# top\na: {b: 1, c: 2} # here\nsearch:\n  x: 1 # x\n  # y\n\n# next\nd: 3\n'
  assert.is(editedText(block, edits, 'search'), '# top\na: {b: 0.25, c: 2} # here\n\n# next\nd: 3\n')
  const last = 'a:\n  b: 1 # one\nsearch: {x: [1, 2]}'
  assert.is(editedText(last, edits, 'search'), 'a:\n  b: 0.25 # one\n')
  assert.is(editedText(last, edits, 'search', { key: 'e', value: ['f'] }), 'a:\n  b: 0.25 # one\ne: ["f"]\n')
  assert.is(editedText('{"a": {"b": 1}, "search": {}, "d": 1}', edits, 'search'), '{"a": {"b": 0.25}, "d": 1}')
  assert.is(editedText('{"a": {"b": 1}, "search": {}}', edits, 'search'), '{"a": {"b": 0.25}}')
  assert.is(editedText('a: {c: 1}', edits, 'search'), undefined)
})

test.run()
