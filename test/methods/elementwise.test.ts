/** Methods that look at one element of each model: median, magmax, consensus_ta, nearswap, ram, ramplus_tl. */
import { test } from 'uvu'
import type { Given } from '../reference/numeric.js'
import { assertAllSteady, assertReferences } from './harness.js'
import { COMPUTES, DTYPES, models } from './samples.js'

const lines = { alpha: 0.2, beta: 0.8 }
type Shapes = Parameters<typeof models>[3]
const CASES: readonly (readonly [string, number, Parameters<typeof models>[2], Shapes?])[] = [
  ['median', 3, { onBase: false }],
  ['median', 4, { onBase: false }],
  ['magmax', 3, {}],
  ['magmax', 2, { parameters: { lambda: 0.7, lines } }],
  ['consensus_ta', 3, {}],
  ['consensus_ta', 3, { weights: [1, 0, -0.5], parameters: { k: 1, tall_lambda: 0.9, lambda: 0.3, lines } }],
  ['nearswap', 1, { parameters: { t: 0.004 } }],
  ['ram', 3, { parameters: { epsilon: 0.008 } }],
  ['ram', 2, { parameters: { epsilon: 0.01, lines } }],
  ['ramplus_tl', 3, { parameters: { epsilon: 0.01, r: 0.5, alpha: 3, lines } }],
  ['task_arithmetic', 3, { weights: [0.3, 0.9, 0.1], parameters: { lambda: 0.7, normalize: true, lines } }],
]

for (const compute of COMPUTES)
  test(`the references in ${compute}, bit for bit, from every dtype`, async () => {
    const cases = CASES.map(([method, count, settings, shapes]) => ({
      method,
      tensors: models(count, compute, settings, shapes),
    }))
    // The dtypes share the cases out; the executor's reading and writing of each has tests of its own.
    for (const [index, dtype] of DTYPES.entries())
      await assertReferences(
        cases.filter((_, which) => which % DTYPES.length === index),
        { dtype },
      )
  })

test('the same bytes on one thread, on two, and read', () =>
  assertAllSteady(
    CASES.map(([method, count, settings, shapes]) => ({ method, tensors: models(count, 'float32', settings, shapes) })),
  ))

test('zeros of both signs, infinities, NaN, equal magnitudes', async () => {
  const special = [0, -0, 1, -1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-7]
  const rolled = (by: number) => Float32Array.from({ length: 512 }, (_, i) => special[(i >> by) % special.length]!)
  const base = Float32Array.from({ length: 512 }, (_, i) => special[i % 3]!)
  const cases = CASES.map(([method, count, settings]) => {
    const inputs = [rolled(0), rolled(3), rolled(6), rolled(1)].slice(0, count)
    const given: Given = { inputs, shape: [512], compute: 'float32', ...settings }
    return { method, tensors: { w: settings?.onBase === false ? given : { ...given, base } } }
  })
  for (const dtype of ['F32', 'BF16'] as const) await assertReferences(cases, { dtype })
})

test.run()
