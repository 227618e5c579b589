/** Every method on tensors whose rule has no answer: no run ends early, and no result is NaN. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { METHODS } from '../../src/methods/registry.js'
import type { Given } from '../reference/numeric.js'
import { type Case, mergeAll, type Tensors } from './harness.js'

const PARAMETERS: Readonly<Record<string, readonly Given['parameters'][]>> = {
  slerp: [{ t: 0.5 }],
  nearswap: [{ t: 0.1 }],
  nuslerp: [{}, { flatten: false }, { flatten: false, row_wise: false }],
  multislerp: [{}, { eps: 0 }],
  karcher: [{}, { tol: 0 }],
  geometric_median: [{}, { tol: 0 }],
  model_stock: [{}, { filter_wise: true }],
  ties: [{}, { density: 0.5, rescale: 'l1' }, { density: 0 }],
  dare_linear: [{ density: 0.5, rescale: 'l1' }],
  dare_ties: [{ density: 0 }],
  della: [{}, { density: 0.5 }],
  della_linear: [{ density: 0.5, rescale: 'l1' }],
  breadcrumbs: [{ density: 0.5, rescale: 'l1' }],
  breadcrumbs_ties: [{ density: 0.5 }],
  sce: [{}, { select_topk: 0.5 }],
  knots: [{}, { density: 0.5 }],
  fisher: [{ floor: 0 }],
  regmean: [{ alpha: 1 }],
  formula: [
    { formula: 'sum(w * abs(x)) / sum(w)' },
    {
      formula:
        'base + sum(w * where(abs(delta) >= tensor_quantile(abs(delta), 0.5), delta, 0)) / (1 + tensor_norm(base))',
    },
  ],
}

const SHAPES: Readonly<Record<string, readonly number[]>> = {
  // First: it says which files of statistics there are.
  matrix: [3, 4],
  scalar: [],
  one: [1],
  single: [1, 1],
  row: [1, 5],
  column: [5, 1],
  empty: [0],
  rowless: [0, 4],
  columnless: [4, 0],
}

const size = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1)

/** What models are, from a vector: the base first. */
const SITUATIONS: Readonly<Record<string, (v: Float64Array) => readonly Float64Array[]>> = {
  'all zero': (v) => [v.map(() => 0), v.map(() => 0), v.map(() => 0)],
  'identical, and the base too': (v) => [v, v, v],
  'identical, the base is zero': (v) => [v.map(() => 0), v, v],
  opposite: (v) => [v.map(() => 0), v, v.map((x) => -x)],
  'one does not move': (v) => [v, v, v.map((x) => x + 1)],
  tiny: (v) => [v.map(() => 0), v.map((x) => 1e-30 * x), v.map((x) => -1e-30 * x)],
}

function given(method: string, shape: readonly number[], vectors: readonly Float64Array[]): Partial<Given> {
  const [base, ...models] = vectors as [Float64Array, ...Float64Array[]]
  const { base: wants, statistics } = METHODS.find(({ name }) => name === method)!
  const columns = shape.at(-1) ?? 1
  const known = statistics === 'gram' ? new Float64Array(columns * columns) : base.map(() => 0)
  return {
    ...(wants === 'none' ? {} : { base }),
    inputs: wants === 'listed' ? models.slice(0, 1) : models,
    shape,
    // The file has an entry for each tensor; of what is no matrix regmean takes the mean.
    ...(statistics ? { statistics: models.map(() => known) } : {}),
  }
}

const MERGING = METHODS.filter(({ name }) => name !== 'passthrough')

for (const [situation, make] of Object.entries(SITUATIONS))
  test(`tensors that are ${situation}`, async () => {
    const cases = MERGING.flatMap(({ name: method }) =>
      (PARAMETERS[method] ?? [{}]).map((parameters): Case => {
        const shapes = Object.entries(SHAPES).filter(([name]) => method !== 'regmean' || name !== 'columnless')
        const tensors = shapes.map(([name, shape]) => {
          const vector = Float64Array.from({ length: size(shape) }, (_, i) => 1 + (i % 3) - (i % 2) / 4)
          const settings = { compute: 'float32', parameters, weights: [1, 1] } as const
          return [name, { ...settings, ...given(method, shape, make(vector)) } as Given] as const
        })
        return { method, tensors: Object.fromEntries(tensors) as Tensors }
      }),
    )
    const merged = await mergeAll(cases, { shared: true })
    for (const [index, { method, tensors }] of cases.entries())
      for (const [name, values] of Object.entries(merged[index]!.tensors)) {
        const what = `${method} ${name} ${JSON.stringify(tensors[name]!.parameters)}: ${values}`
        assert.ok(values.every(Number.isFinite), what)
        assert.is(merged[index]!.lineage.tensors[name]!.non_finite, undefined, what)
      }
  })

test.run()
