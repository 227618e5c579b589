import { test } from 'uvu'
import { assertAllSteady, assertReference } from './harness.js'
import { COMPUTES, MATRIX_METHODS, models } from './samples.js'

/** Squares, tall and wide ones, rows of one element, more than a leaf of the eigensolver, and what is no matrix. */
const SHAPES = {
  scalar: [],
  vector: [37],
  row: [1, 12],
  column: [12, 1],
  'model.layers.0.square': [24, 24],
  'model.layers.1.tall': [44, 35],
  'model.layers.2.wide': [35, 52],
  narrow: [50, 4],
  'model.layers.3.convolution': [6, 5, 3, 3],
}
const WEIGHTS = [0.7, 0.5, 1.2]
const TOLERANCE = { float32: 2e-6, float64: 1e-9 }

for (const [method, all] of Object.entries({
  iso_c: [{}, { lambda: 0.7 }],
  iso_cts: [{}, { common: 0.4 }],
  tsv_m: [{}, { rank_share: 0.2, lambda: 1.5 }],
  star: [{}, { eta: 0.8 }],
  knots: [{}, { density: [1, 0.3, 0.6], lambda: 0.9 }, { inner: 'task_arithmetic' }],
  cart: [{}, { rank_ratio: 0.4, lambda: 0.8 }, { rank_ratio: 0 }],
  wudi: [{}, { lambda: 0.3 }],
  actmat: [{}],
  ace: [{}, { eps: 1e-4, lambda: 0.6 }],
  svc: [{}, { inner: 'ties', density: [0.5, 1, 0.3], alpha: 0.2, lambda: 0.7 }, { inner: 'star', alpha: 0.5 }],
  dc_merge: [{}, { density: 0.3 }, { rank: 2, smoothing: 'linear', density: 0.5 }, { rank: 3, smoothing: 'average' }],
}))
  for (const compute of COMPUTES)
    for (const parameters of all)
      test(`${method} in ${compute} ${JSON.stringify(parameters)}`, async () => {
        const tensors = models(3, compute, { weights: WEIGHTS, parameters }, SHAPES)
        await assertReference(method, tensors, { tolerance: TOLERANCE[compute] })
      })

for (const compute of COMPUTES)
  test(`opcm in ${compute}: one tensor at a time, since norms are those of the model`, async () => {
    for (const name of ['vector', 'row', 'model.layers.1.tall', 'model.layers.2.wide'] as const) {
      const parameters = name === 'row' ? {} : { alpha: 0.2, lambda: 0.7 }
      const tensors = models(3, compute, { parameters }, { [name]: SHAPES[name] })
      await assertReference('opcm', tensors, { tolerance: TOLERANCE[compute] })
    }
  })

test('methods on whole matrices: the same bytes on one thread and two, mapped or read', () => {
  const tensors = models(3, 'float32', { weights: WEIGHTS }, { ...SHAPES, large: [130, 210] })
  return assertAllSteady(
    MATRIX_METHODS.map((method) => ({ method, tensors })),
    { dtype: 'BF16' },
  )
})

test.run()
