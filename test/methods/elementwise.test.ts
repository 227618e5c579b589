/** Methods that look at one element of each model: median, magmax, consensus_ta, nearswap, ram, ramplus_tl. */

import { test } from 'uvu'
import type { Given } from '../reference/numeric.js'
import { type Sample, testEveryDtype } from './everyDtype.js'
import { assertReferences } from './harness.js'

const lines = { alpha: 0.2, beta: 0.8 }
const CASES: readonly Sample[] = [
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
  ['linear_if_changed', 2, {}],
  ['linear_if_changed', 2, { weights: [0.3, 0.2], parameters: { base_weight: 0.5, threshold: 0.05, lines } }],
  ['linear_if_changed', 3, { parameters: { threshold: 1e30 } }],
  ['task_arithmetic', 3, { weights: [0.3, 0.9, 0.1], parameters: { lambda: 0.7, normalize: true, lines } }],
]

testEveryDtype(CASES)

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
