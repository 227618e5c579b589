/** Errors in formulas: the message, and the very place in the scalar, however it is written. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatDiagnostic } from '../../src/core/diagnostics.js'
import { loadRecipe } from '../../src/recipe/load.js'
import { seeded } from './helpers.js'

const recipe = (formula: string, more = '', head = 'base: b\n'): string =>
  `terge: 1\nmodels: {b: b, m: m, n: n}\n${head}merge:\n  method: formula\n  parameters:\n    formula: ${formula}\n${more}output: o\n`

const faultsOf = (text: string) => loadRecipe('r.yml', { text }).diagnostics

/** The first error: its message, and what the caret marks. */
function faultOf(formula: string, more = '', head?: string): string {
  const [first] = faultsOf(recipe(formula, more, head))
  if (!first?.place) return String(first?.message)
  const { text, column, length } = first.place
  return `${first.message} @ ${text.slice(column - 1, column - 1 + length)}`
}

for (const [formula, expected] of [
  ['"base + dleta"', "the formula uses an unknown name 'dleta' @ dleta"],
  ['"base + constructor"', "the formula uses an unknown name 'constructor' @ constructor"],
  ['"base + __proto__[0]"', "the formula uses an unknown name '__proto__' @ __proto__[0]"],
  ['"base + toString(1)"', "there is no function 'toString' @ toString"],
  ['"base + delta"', "'delta' has a value for each merged model @ delta"],
  ['"base + x[2]"', 'x[2] does not exist: the last of 2 merged models is x[1] @ x[2]'],
  [
    '"base + x[99999999999999999999]"',
    'x[100000000000000000000] does not exist: the last of 2 merged models is x[1] @ x[99999999999999999999]',
  ],
  ['"base[0]"', "'base' is the same for all models, so it has no index @ base[0]"],
  ['"base + x[-1]"', 'an index must be an integer from 0 @ -'],
  ['"base + abs(x[0], 1)"', 'abs takes 1 argument, not 2 @ abs'],
  ['"max(x[0], 1, 2)"', 'max takes 1 or 2 arguments, not 3 @ max'],
  ['"where(x[0], 1, base)"', 'the first argument of where must be a comparison @ x[0]'],
  ['"base + (x[0] > 1)"', 'a comparison is not a number @ x[0] > 1'],
  ['"x[0] < base"', 'the formula gives true or false, not a number @ x[0] < base'],
  ['"x[0] < 1 < 2"', 'comparisons can’t be chained @ <'],
  ['"1 + layer"', 'the formula uses no tensor @ 1 + layer'],
  ['"base * tensor_mean(layer)"', 'tensor_mean looks at all elements of a tensor, but this is one number @ layer'],
  ['"base * tensor_quantile(base, 1.5)"', 'the second argument of tensor_quantile must be from 0 to 1 @ 1.5'],
  [
    '"base * tensor_quantile(base, tensor_mean(base))"',
    'the second argument of tensor_quantile must be known before any tensor is read @ tensor_mean(base)',
  ],
  ['"base + (x[0]"', "'(' is never closed @ ("],
  ['"base + 2 x[0]"', "'x' where an operator was expected @ x"],
  ['"base ** 2"', "'*' where a number, a name or a parenthesis was expected @ *"],
  ['"base +"', 'the formula ends where a number, a name or a parenthesis was expected @ "'],
  ['"base · 2"', "formulas can’t contain '·' @ ·"],
  ['"base + 1e999"', "'1e999' is too large for a number @ 1e999"],
  ['""', 'the formula is empty @ ""'],
  ['1', '\'formula\' of formula must be a string such as "mean(x)" @ 1'],
] as const)
  test(`error: ${formula}`, () => assert.is(faultOf(formula), expected))

test('the place is right in every style of scalar', () => {
  const bad = "the formula uses an unknown name 'oops'"
  for (const [formula, line] of [
    ['base + oops', 7],
    ["'base + oops'", 7],
    ['"base\\u0020+ \\x6fops"', 7],
    ['"base\\\n      + oops"', 8],
    ['base\n      + oops', 8],
    ['"base\n\n      + oops"', 9],
    ["'base\n      + oops'", 8],
    ['>-\n      base\n      + oops', 9],
    ['|\n      base +\n\n      oops', 10],
    ['>2-\n        base\n          + oops', 9],
    ['!!str base + oops', 7],
    ['&f base + oops', 7],
  ] as const) {
    const [first] = faultsOf(recipe(formula))
    const shown = formatDiagnostic(first!)
    assert.is(first!.message, bad, shown)
    assert.is(first!.place!.line, line, shown)
    const { text, column, length } = first!.place!
    assert.match(text.slice(column - 1, column - 1 + length), /^(oops|\\x6fops)$/, shown)
  }
})

test('errors of parameters and of the base', () => {
  assert.is(faultOf('"mean(x) + s"', '    t: 1\n'), "the formula uses an unknown name 's' @ s")
  assert.is(faultOf('"mean(x)"', '    t: 1\n'), "the formula does not use 't' @ t")
  assert.is(
    faultOf('"mean(x)"', '    sum: 1\n'),
    "'sum' is a name of the formula language, so no parameter can have it @ sum",
  )
  assert.is(
    faultOf('"mean(x)"', '    __proto__: 1\n'),
    "'__proto__' can’t be a name in a formula, so no parameter can have it @ __proto__",
  )
  assert.is(
    faultOf('"mean(x * t)"', '    t: {m: 1}\n'),
    "'t' of formula has no default, so every model needs a value: add 'b', 'n' @ {m: 1}",
  )
  assert.is(
    faultOf('"x[0] + sum(delta)"', '', ''),
    'the formula needs a base model, but the recipe does not name one @ delta',
  )
})

test('a rule has the formula of the merge with its own values, or another formula', () => {
  const rules = (parameters: string) => `  rules: [{match: "a", parameters: ${parameters}}]\n`
  assert.equal(faultsOf(recipe('"base + t * mean(delta)"', `    t: 1\n${rules('{t: 2}')}`)), [])
  assert.equal(faultsOf(recipe('"base + t * mean(delta)"', `    t: 1\n${rules('{formula: "mean(x)"}')}`)), [])
  const wrong = faultsOf(recipe('"base + t * mean(delta)"', `    t: 1\n${rules('{formula: "mean(y)"}')}`))
  assert.equal(
    wrong.map(({ message }) => message),
    ["the formula uses an unknown name 'y'"],
  )
})

test('hostile formulas end quickly in one error', () => {
  const nested = (depth: number): string => `"${'('.repeat(depth)}base${')'.repeat(depth)}"`
  assert.equal(faultsOf(recipe(nested(200))), [])
  assert.match(faultOf(nested(201)), /^a formula can be nested at most 200 levels deep @ \(/)
  assert.match(faultOf(`"${'-'.repeat(201)}base"`), /^a formula can be nested at most 200 levels/)
  assert.match(faultOf(`"base${'^2'.repeat(1000)}"`), /^a formula can be nested at most 200 levels/)
  assert.match(faultOf(`"base${' + 1'.repeat(4000)}"`), /^a formula can have at most 4000 terms/)
  assert.match(
    faultOf(`|\n${'      base + base + base\n'.repeat(20_000)}`),
    /^a formula can have at most 20000 characters/,
  )
  assert.match(faultOf(`"${'𝑥'.repeat(1000)}"`), /^formulas can’t contain '𝑥'/)
  const next = seeded(7)
  const pieces = [
    'base',
    'x[0]',
    'sum(',
    ')',
    '(',
    ',',
    '+',
    '^',
    '[',
    ']',
    '1',
    'where(',
    '<',
    'delta',
    '-',
    'é',
    "''",
  ]
  for (let i = 0; i < 300; i++) {
    const text = Array.from({ length: next(30) }, () => pieces[next(pieces.length)]).join(' ')
    for (const { message } of faultsOf(recipe(JSON.stringify(text)))) assert.not.match(message, /internal/)
  }
})

test.run()
