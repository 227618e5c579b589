/** nuslerp, multislerp, karcher, model_stock, geometric_median: found from dot products. */

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { type Sample, testEveryDtype } from './everyDtype.js'
import { assertReferences, merge } from './harness.js'
import { models, SHAPES } from './samples.js'

const { scalar: _scalar, one: _one, ...VECTORS } = SHAPES
const CASES: readonly Sample[] = [
  ['nuslerp', 2, { onBase: false, weights: [1, 3] }],
  ['nuslerp', 2, { weights: [0.4, 0.6] }],
  ['nuslerp', 2, { onBase: false, weights: [1, 2], parameters: { flatten: false } }],
  ['nuslerp', 2, { weights: [1, -1], parameters: { flatten: false, row_wise: true } }],
  ['nuslerp', 2, { onBase: false, weights: [0, 2], parameters: { flatten: false, row_wise: false } }],
  ['nuslerp', 2, { weights: [1, 2], parameters: { flatten: false, row_wise: false } }],
  ['multislerp', 3, { onBase: false, weights: [1, 2, 0.5] }],
  ['multislerp', 3, { weights: [0.3, 0.2, 0.1], parameters: { normalize_weights: false } }],
  ['karcher', 3, { onBase: false }],
  ['karcher', 4, { onBase: false, parameters: { max_iter: 2, tol: 1e-9 } }],
  // Two numbers of opposite sign cancel: the reference knows no limit.
  ['model_stock', 2, {}, VECTORS],
  ['model_stock', 3, { parameters: { lines: { alpha: 0.2, beta: 0.8 } } }],
  ['model_stock', 3, { parameters: { filter_wise: true, lines: { alpha: 0.2, beta: 0.8 } } }],
  ['geometric_median', 3, { onBase: false, weights: [1, 2, 0.5] }],
]

testEveryDtype(CASES)

const one = { w: SHAPES['model.layers.1.rows']! }
const at = (from: ReturnType<typeof models>) => from.w!

test('vectors of norm 0 and antiparallel ones, and equal models', async () => {
  const given = at(models(2, 'float32', { onBase: false }, one))
  const [a] = given.inputs as [Float32Array, Float32Array]
  const pairs = [a.map((x) => -x), a.map(() => 0), a].map((other) => ({
    ...given,
    inputs: [a, other],
    weights: [1, 3],
  }))
  const cases = pairs.flatMap((pair) => [
    ...[{}, { flatten: false }, { flatten: false, row_wise: false }].map((parameters) => ({
      method: 'nuslerp',
      tensors: { w: { ...pair, parameters } },
    })),
    ...['multislerp', 'karcher', 'geometric_median'].map((method) => ({ method, tensors: { w: pair } })),
  ])
  for (const dtype of ['F32', 'BF16'] as const) await assertReferences(cases, { dtype })
  const three = { w: { ...given, inputs: [a, a, a] } }
  assert.equal((await merge('geometric_median', three)).tensors.w, a)
})

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (error instanceof Fault) return error.diagnostics[0]!.code
    throw error
  }
  return 'no fault'
}

test('task vectors and directions that cancel: the average, and it is reported', async () => {
  const given = at(models(3, 'float32', {}, { w: [4] }))
  const [p, q] = [Float32Array.of(1, 0, 0, 0), Float32Array.of(-1, 0, 0, 0)]
  const zeros = new Float32Array(4)
  const { base: _, ...noBase } = given
  const cancelling = { ...noBase, inputs: [p, q, p], weights: [1, 2, 1] }
  const spherical = await merge('multislerp', { w: cancelling })
  assert.equal(spherical.tensors.w, zeros)
  assert.match(spherical.lineage.tensors.w!.notes![0]!, /^multislerp used the weighted average/)
  const stock = await merge('model_stock', { w: { ...given, base: zeros, inputs: [p, q] } })
  assert.equal(stock.tensors.w, zeros)
  assert.match(stock.lineage.tensors.w!.notes![0]!, /^model_stock used the average: the task vectors cancel/)
  const rows = { base: new Float32Array(8).fill(1), shape: [2, 4], parameters: { filter_wise: true } }
  const inputs = [Float32Array.of(2, 1, 1, 1, 3, 1, 1, 1), Float32Array.of(0, 1, 1, 1, 3, 1, 1, 1)]
  const byRow = await merge('model_stock', { w: { ...given, ...rows, inputs } })
  assert.equal(byRow.tensors.w, Float32Array.of(1, 1, 1, 1, 3, 1, 1, 1))
  assert.is(byRow.lineage.tensors.w!.notes!.length, 1)
})

test('errors: row_wise beside flatten', async () => {
  const given = at(models(2, 'float32', {}, { w: [4] }))
  const [p, q] = [Float32Array.of(1, 0, 0, 0), Float32Array.of(-1, 0, 0, 0)]
  const { base: _, ...noBase } = given
  const parameters = { row_wise: false }
  assert.is(await codeOf(merge('nuslerp', { w: { ...noBase, inputs: [p, q], parameters } })), 'bad-parameter')
})

test.run()
