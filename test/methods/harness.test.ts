import { test } from 'uvu'
import { assertReference, assertSteady } from './harness.js'
import { COMPUTES, DTYPES, models } from './samples.js'

for (const compute of COMPUTES) {
  test(`linear, task_arithmetic and slerp in ${compute} are the references, from every dtype`, async () => {
    for (const dtype of DTYPES) {
      await assertReference('linear', models(3, compute, { onBase: false, weights: [0.5, -0.2, 1] }), { dtype })
      const parameters = { lambda: 0.7, normalize: true }
      await assertReference('task_arithmetic', models(3, compute, { weights: [0.5, 0, 1], parameters }), { dtype })
      await assertReference('slerp', models(2, compute, { onBase: false, parameters: { t: 0.3 } }), { dtype })
    }
  })
}

test('slerp: the same bytes on one thread, on two, and read', () =>
  assertSteady('slerp', models(2, 'float32', { onBase: false, parameters: { t: 0.3 } })))

test.run()
