import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { goldenCases } from './golden.js'
import { reference } from './index.js'

/** Share of elements that may be off: equal magnitudes, and float32 noise of the golden's KL. */
const OFF: Readonly<Record<string, number>> = {
  ties: 1e-4,
  breadcrumbs: 1e-4,
  breadcrumbs_ties: 1e-4,
  sce: 1e-4,
  arcee_fusion: 1e-3,
}

for (const compute of ['float32', 'float64'] as const)
  for (const shape of ['150', '48x40'] as const)
    for (const { name, method, given, expected } of goldenCases(shape, compute)) {
      test(`golden ${name} in ${compute}`, () => {
        const result = reference(method, given)
        assert.is(result.length, expected.length)
        const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
        const errors = Array.from(result, (value, i) => Math.abs(value - expected[i]!) / largest)
        const off = errors.filter((error) => !(error <= 2e-6)).length
        assert.ok(
          off <= (OFF[method] ?? 0) * errors.length,
          `${off} of ${errors.length} off, the largest by ${Math.max(...errors)} of the largest magnitude`,
        )
      })
    }

test.run()
