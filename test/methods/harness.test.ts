import { test } from 'uvu'
import { assertAllSteady, assertReferences } from './harness.js'
import { COMPUTES, DTYPES, models } from './samples.js'

const cases = (compute: (typeof COMPUTES)[number]) => [
  { method: 'linear', tensors: models(3, compute, { onBase: false, weights: [0.5, -0.2, 1] }) },
  {
    method: 'task_arithmetic',
    tensors: models(3, compute, { weights: [0.5, 0, 1], parameters: { lambda: 0.7, normalize: true } }),
  },
  { method: 'slerp', tensors: models(2, compute, { onBase: false, parameters: { t: 0.3 } }) },
]

for (const compute of COMPUTES)
  test(`linear, task_arithmetic and slerp in ${compute} are the references, from every dtype`, async () => {
    for (const dtype of DTYPES) await assertReferences(cases(compute), { dtype })
  })

test('the same bytes on one thread, on two, and read', () => assertAllSteady(cases('float32')))

test.run()
