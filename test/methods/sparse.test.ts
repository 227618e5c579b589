/** ties, breadcrumbs, dare and sce through the executor against their references, bit for bit. */
import { test } from 'uvu'
import { lookupMethod } from '../../src/methods/registry.js'
import type { Given, Tensor } from '../reference/numeric.js'
import { assertReferences } from './harness.js'
import { COMPUTES, DTYPES, models, SHAPES } from './samples.js'

/** More than a tile takes the reference's sort a second: `thresholds among equal magnitudes` has that. */
const SMALL = Object.fromEntries(Object.entries(SHAPES).filter(([name]) => !name.endsWith('large')))

/** By method, parameters that reach each of its branches. */
const CASES: readonly [method: string, parameters: Record<string, unknown>][] = [
  ['ties', { density: 0.3 }],
  ['ties', { density: [0.5, 1, 0.2], rescale: 'l1', lambda: 0.7 }],
  ['ties', { density: 0.4, rescale: 'inverse', normalize: false }],
  ['ties', { density: 0, rescale: true }],
  ['breadcrumbs', { density: 0.6, gamma: 0.1 }],
  ['breadcrumbs', { density: [0.9, 0.5, 1], gamma: 0.3, rescale: 'l1', normalize: true }],
  ['breadcrumbs', { density: 0 }],
  ['breadcrumbs_ties', { density: 0.5, gamma: [0, 0.05, 0.5], rescale: 'inverse', lambda: 1.5 }],
  ['dare_linear', { density: 0.4 }],
  ['dare_linear', { density: [0.4, 1, 0], rescale: 'l1', normalize: true, lambda: -0.5 }],
  ['dare_linear', { density: 0.7, rescale: false }],
  ['dare_ties', { density: [0.3, 0.9, 1], normalize: true }],
  ['dare_ties', { density: 0.5, rescale: 'l1' }],
  ['della_linear', { density: 0.4 }],
  ['della_linear', { density: [0.4, 1, 0.7], epsilon: [0.1, 0.15, 0.25], rescale: 'l1', normalize: true }],
  ['della', { density: 0.5, epsilon: 0.2, lambda: 0.8 }],
  ['della', { density: [0.5, 0.6, 0.5], epsilon: 0, rescale: false, normalize: false }],
  ['della', { density: 0.5, rescale: 'l1' }],
  ['arcee_fusion', {}],
  ['sce', {}],
  ['sce', { select_topk: 0.25 }],
  ['sce', { select_topk: 0 }],
]

for (const compute of COMPUTES)
  for (const dtype of compute === 'float32' ? DTYPES : (['F64', 'BF16'] as const))
    test(`in ${compute} from ${dtype}: the references`, async () => {
      await assertReferences(
        CASES.map(([method, parameters]) => {
          const settings = {
            ...(lookupMethod(method)!.weights ? { weights: [0.5, -0.3, 1.2] } : {}),
            parameters,
            seed: 7,
          }
          return { method, tensors: models(method === 'arcee_fusion' ? 1 : 3, compute, settings, SMALL) }
        }),
        { dtype },
      )
    })

/** Few magnitudes, so that thresholds fall among equals; zeros, infinities, NaN. */
function coarse(n: number, compute: Given['compute'], odd: boolean): Given {
  const round = (x: Tensor, model: number) =>
    Float32Array.from(x, (value, i) => {
      if (odd && i % 97 === model) return [Number.NaN, Number.POSITIVE_INFINITY, -0, 1e-42][Math.floor(i / 97) % 4]!
      return Math.round(value * 400) / 128
    })
  const { inputs, base } = models(3, compute, {}, { coarse: [n] }).coarse!
  return { inputs: inputs.map(round), base: round(base!, 50), shape: [n], compute }
}

for (const odd of [false, true])
  test(`thresholds among equal magnitudes${odd ? ', with NaN and infinities' : ''}: the first by index`, async () => {
    const rescale = odd ? {} : { rescale: 'l1' }
    const cases = [
      ['ties', { density: [0.31, 0.07, 0.77], ...rescale }],
      ['breadcrumbs_ties', { density: [0.31, 0.07, 0.77], gamma: [0.2, 0.01, 0.1], ...rescale }],
      ['breadcrumbs', { density: 0.3, gamma: 0.11 }],
      ['sce', { select_topk: 0.4 }],
    ] as const
    for (const compute of COMPUTES)
      for (const dtype of ['F32', 'BF16'] as const)
        await assertReferences(
          cases.map(([method, parameters]) => {
            // The last tile has a few elements, and the index that decides lies in the first.
            const tiled = compute === 'float32' && dtype === 'BF16' && (method === 'ties' || method === 'sce')
            const given = coarse(tiled ? 2 ** 18 + 4099 : 10_007, compute, odd)
            return { method, tensors: { w: { ...given, parameters } } }
          }),
          { dtype },
        )
  })

test('many models: more than a pass looks up at once, more than are unrolled', async () => {
  const few = { small: [45, 23], one: [] }
  const cases = [
    ['ties', { density: 0.4, rescale: 'l1' }],
    ['breadcrumbs', { density: 0.4 }],
    ['dare_ties', { density: 0.4 }],
    ['della', { density: 0.4 }],
    ['sce', { select_topk: 0.5 }],
  ] as const
  for (const count of [1, 2, 9])
    await assertReferences(
      cases.map(([method, parameters]) => ({ method, tensors: models(count, 'float32', { parameters }, few) })),
    )
})

test.run()
