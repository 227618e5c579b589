/** Hostile texts give diagnostics with places. They never throw, and the work is bounded. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatDiagnostic } from '../../src/core/diagnostics.js'
import { loadRecipe } from '../../src/recipe/load.js'
import { seeded } from './helpers.js'

const HEAD = 'terge: 1\nmodels: {a: ./a, b: ./b}\noutput: x\n'
const codes = (text: string): string[] => loadRecipe('r.yml', { text }).diagnostics.map(({ code }) => code)
const lines = (text: string, count: number): string => `${text.repeat(20)}\n `.repeat(Math.ceil(count / 20))

test('alias bombs are refused quickly', () => {
  const bomb = Array.from({ length: 12 }, (_, i) => `m${i}: &m${i} [${i ? `*m${i - 1},`.repeat(9) : 'x,'.repeat(9)}]`)
  assert.equal(codes(bomb.join('\n')), ['too-large'])
  const chain = Array.from({ length: 200 }, (_, i) => `m${i}: &m${i} [${i ? `*m${i - 1}` : 'x'}]`)
  assert.equal(codes(chain.join('\n')), ['too-large'])
  assert.ok(codes(`a: &a [${lines('*a,', 2000)}]`).includes('bad-alias'))
})

test('deep nesting is refused', () => {
  for (const text of ['[', '{a: ', '- ', 'a: ', '? ', '[\n ', '!!seq [', '&a [']) {
    assert.equal(codes(text.repeat(10_000)).length, 1, text)
    assert.equal(codes(`x: ${text.repeat(500)}`).length, 1, text)
  }
})

test('texts with too many lines, errors or steps are refused quickly', () => {
  assert.equal(codes('# x\n'.repeat(130_000)), ['too-large'])
  const keys = `terge: 1\n${Array.from({ length: 3000 }, (_, i) => `key${i}: 1`).join('\n')}`
  const faults = codes(keys)
  assert.is(faults.length, 501)
  assert.is(faults[0], 'too-many-faults')
  const steps = Array.from({ length: 1200 }, (_, i) => ` s${i}: {merge: {method: linear, models: [s${i + 1}, b]}}`)
  assert.equal(codes(`${HEAD}steps:\n${steps.join('\n')}\n`).slice(0, 1), ['too-large'])
})

test('hostile regular expressions compile and match quickly, or are refused', () => {
  const slow = [
    '(a+)+$',
    '(.*)*x',
    '((a?){30}){30}a{900}',
    `${'(a?)'.repeat(200)}b`,
    'a{1000}b{1000}',
    `(${'a|'.repeat(450)}a)*b`,
  ]
  for (const source of slow) {
    const { recipe, diagnostics } = loadRecipe('r.yml', {
      text: `${HEAD}merge: {method: linear}\nfilters: {include: "/${source}/"}\n`,
    })
    if (!recipe)
      assert.equal(
        diagnostics.map(({ code }) => code),
        ['bad-pattern'],
      )
    else if (recipe.steps[0]?.kind === 'merge') recipe.steps[0].filters.include[0]?.pattern.matches('a'.repeat(200))
  }
})

const VALID = [
  `terge: 1
models:
  base: ./models/base
  math: hf:org/math-7b@5d2f1c0
  code: {path: ./models/code.safetensors, lora: ./x, rename: [{from: "*", to: y}]}
base: base
filters:
  include: ["model.layers.**", "lm_head.weight"]
  exclude: ["/norm\\\\.weight$/"]
rebasin:
  - {model: code, onto: base}
merge:
  method: task_arithmetic
  models: [math, code]
  weights: &w {math: 0.6, code: [0, 0.4]}
  parameters: {lambda: 0.5}
  rules:
    - match: "**.self_attn.**"
      method: slerp
      models: [base, code]
      parameters: {t: [0, 0.5, 1]}
    - match: ["lm_head.weight", "/embed/"]
      weights: *w
repair: {batch_norm: correlation}
output: {path: ./merged, dtype: bfloat16, shard_size: 5GB}
`,
  `terge: 1
models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
steps:
  b_aligned: {rebasin: {model: b, onto: a}}
  soup: {merge: {method: linear, models: [a, b_aligned]}}
  path: {interpolate: {from: a, to: soup, at: [0, 0.5], evaluate: {command: [x]}}}
  tower: {stack: [{model: a, layers: [0, 2]}, {model: b, layers: [1, 3]}]}
  low: {extract: {lora: {from: a, base: b, rank: 4}}}
  final: {merge: {method: slerp, models: [soup, c], parameters: {t: 0.3}}}
outputs: [{from: final, path: out.safetensors}, {from: soup, path: other}]
`,
]

test('random mutations of recipes give diagnostics with valid places, or a recipe', () => {
  const random = seeded(20240607)
  const words = VALID.join(' ').match(/[\w.]+|[^\w\s]/g) ?? []
  const odd = [
    '&a ',
    '*a',
    '<<: ',
    '!!str ',
    '? ',
    '- ',
    '"',
    "'",
    '|\n',
    '{',
    '}',
    '[',
    ']',
    ': ',
    '\t',
    '\n',
    '~',
    '.inf',
    '1e999',
    '/(/',
    '\u0000',
    'é',
    '%',
    '---\n',
    '#',
  ]
  for (let round = 0; round < 1500; round++) {
    let text = VALID[random(VALID.length)] ?? ''
    for (let edits = 1 + random(4); edits > 0; edits--) {
      const at = random(text.length + 1)
      const piece = (random(2) ? words[random(words.length)] : odd[random(odd.length)]) ?? ''
      const cut = [0, 0, 1, 1 + random(20)][random(4)] ?? 0
      text = text.slice(0, at) + (random(3) ? piece : '') + text.slice(at + cut)
    }
    const set = random(4)
      ? []
      : [
          text.slice(random(text.length)).split('\n')[0] ?? '',
          `merge.${words[random(words.length)]}=${odd[random(odd.length)]}`,
        ]
    const { recipe, diagnostics } = loadRecipe('r.yml', { text, set })
    const shown = JSON.stringify({ round, text, set })
    assert.is(
      recipe === undefined,
      diagnostics.some(({ severity }) => severity === 'error'),
      shown,
    )
    const keys = new Set(diagnostics.map(formatDiagnostic))
    assert.is(keys.size, diagnostics.length, `one fault twice: ${shown}`)
    const rows = text.split('\n')
    for (const { place, message } of diagnostics) {
      assert.not.match(message, /undefined|\[object|null/, shown)
      if (!place) continue
      if (place.file === 'r.yml')
        assert.is(place.line <= rows.length && rows[place.line - 1]?.length !== undefined, true, shown)
      assert.ok(place.column >= 1 && place.column <= place.text.length + 1 && place.length >= 1, shown)
    }
  }
})

test.run()
