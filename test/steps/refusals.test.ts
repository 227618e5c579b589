/** Each kind of step reports an error with a code and a place for a recipe that it does not support. A new kind needs a row. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ErrorCode } from '../../src/core/codes.js'
import { loadRecipe } from '../../src/recipe/load.js'
import { KINDS } from '../../src/steps/index.js'

/** The value of the step, the code of the error, and the text at its column. */
const REFUSED: Readonly<Record<string, readonly (readonly [step: string, code: ErrorCode, at: string])[]>> = {
  merge: [
    ['{merge: {method: ties, models: [a, b]}}', 'missing-base', 'ties'],
    ['{merge: {method: linear, models: [a, b], parameters: {zzz: 2}}}', 'unknown-parameter', 'zzz'],
  ],
  rebasin: [
    ['{rebasin: {model: a, onto: a}}', 'contradiction', 'a}}'],
    ['{rebasin: {models: [a, b], method: weight-matching}}', 'contradiction', 'weight-matching'],
  ],
  repair: [['{repair: {batch_norm: correlation}}', 'missing-key', 'repair']],
  interpolate: [['{interpolate: {from: a, to: b, at: [0, 1, 0]}}', 'bad-value', '0]']],
  stack: [['{stack: [{model: a, layers: [3, 2]}]}', 'bad-value', '[3']],
  zip: [
    ['{zip: {models: [a, b], width: wide}}', 'bad-value', 'wide'],
    ['{zip: {models: [a, b], unmerge: least-squares}}', 'missing-key', 'least'],
    ['{zip: {models: [a, a]}}', 'contradiction', 'a]'],
  ],
  moe: [
    ['{moe: {base: a}}', 'missing-key', 'moe'],
    ['{moe: {pool: [a, b], gate: random}}', 'contradiction', 'gate'],
    ['{moe: {base: a, gate: embedding, experts: [{model: b}]}}', 'missing-key', '{model: b'],
    ['{moe: {base: a, gate: random, experts: [{model: b}], experts_per_token: 2}}', 'bad-value', '2}}'],
    ['{moe: {base: a, gate: random, experts: [{model: b}], experts_per_token: 0}}', 'bad-value', '0}}'],
    [
      '{moe: {base: a, experts: [{model: b, prompts: [x]}, {model: a, prompts: [x]}]}}',
      'contradiction',
      '{model: a, prompts',
    ],
    ['{moe: {base: a, experts: [{model: b, prompts: [x]}, {model: b, prompts: [y]}]}}', 'contradiction', 'experts'],
    ['{moe: {base: a, gate: statistics, experts: [{model: b}]}}', 'missing-key', 'statistics'],
    ['{moe: {dense: {model: a, weights: [1, -1]}}}', 'bad-value', '[1'],
  ],
  extract: [['{extract: {lora: {from: a, base: a, rank: 2}}}', 'contradiction', 'a, base']],
}

const recipe = (step: string): string =>
  ['terge: 1', 'models: {a: a.safetensors, b: b.safetensors}', 'steps:', `  s: ${step}`, 'output: out'].join('\n')

test('each kind of step has a refused recipe', () => {
  assert.equal(
    Object.keys(REFUSED).sort(),
    KINDS.filter(({ inner }) => !inner)
      .map(({ kind }) => kind)
      .sort() as string[],
  )
  for (const cases of Object.values(REFUSED)) assert.ok(cases.length > 0)
})

for (const [kind, cases] of Object.entries(REFUSED))
  test(kind, () => {
    for (const [step, code, at] of cases) {
      const text = recipe(step)
      const errors = loadRecipe('r.yml', { text }).diagnostics.filter(({ severity }) => severity === 'error')
      const line = text.split('\n')[3]!
      assert.equal(
        errors.map(({ code, place }) => [code, place?.line, place?.column]),
        [[code, 4, line.indexOf(at) + 1]],
        `${step}: ${JSON.stringify(errors)}`,
      )
    }
  })

test.run()
