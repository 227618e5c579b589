/** Built-in methods written as formulas give the built-ins' bytes: those of docs/formulas.md, and more. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import type { OutputDtype } from '../../src/core/dtypes.js'
import type { Compute, Given, Tensor } from '../reference/numeric.js'
import { type Case, mergeAll } from './harness.js'
import { models, SHAPES } from './samples.js'

/** The formulas of the page, in its order. */
const page = readFileSync(new URL('../../../docs/formulas.md', import.meta.url), 'utf8').split(
  '## Methods as formulas',
)[1]!
const [LINEAR, TASK, MAGMAX_OF_TWO, NEARSWAP, TIES_OF_POSITIVE] = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(
  ([, text]) => (parse(text!) as { merge: { parameters: { formula: string } } }).merge.parameters.formula,
) as [string, string, string, string, string]

const DELTA = 'where(abs(delta) >= tensor_quantile(abs(delta), 1 - density), delta, 0)'
const D = `w * ${DELTA}`
const AGREES = `where(sum(${D}) >= 0, 1, -1) * ${D} > 0`
/** `where(W == 0, 1, W)`: no model may agree. */
const W = `sum(where(${AGREES}, w, 0))`
const TIES = `base + sum(where(${AGREES}, ${D}, 0)) / where(${W} == 0, 1, ${W})`
const LARGEST = 'max(abs(delta))'
const MAGMAX =
  `base + lambda * where(abs(delta[0]) == ${LARGEST}, delta[0], ` +
  `where(abs(delta[1]) == ${LARGEST}, delta[1], delta[2]))`

interface Pair {
  readonly method: string
  readonly formula: string
  readonly count: number
  readonly settings: Partial<Given> & { readonly onBase?: boolean }
}

const weights = [0.5, -0.3, 1.2]
const PAIRS: readonly Pair[] = [
  { method: 'magmax', formula: MAGMAX, count: 3, settings: { parameters: { lambda: 0.7 } } },
  { method: 'magmax', formula: MAGMAX_OF_TWO, count: 2, settings: { parameters: { lambda: 1 } } },
  { method: 'nearswap', formula: NEARSWAP, count: 1, settings: { parameters: { t: 0.004 } } },
  { method: 'ties', formula: TIES, count: 3, settings: { weights, parameters: { density: 0.3 } } },
  { method: 'ties', formula: TIES_OF_POSITIVE, count: 3, settings: { parameters: { density: [0.5, 1, 0.07] } } },
  { method: 'ties', formula: TIES, count: 2, settings: { parameters: { density: 0 } } },
  {
    method: 'linear',
    formula: LINEAR,
    count: 3,
    settings: { weights: [0.2, 0.7, 1.3], onBase: false },
  },
  {
    method: 'linear',
    formula: LINEAR,
    count: 4,
    settings: { weights: [2, -0.5, 0, 1], onBase: false },
  },
  {
    method: 'task_arithmetic',
    formula: TASK,
    count: 3,
    settings: { weights, parameters: { lambda: 0.7 } },
  },
  { method: 'median', formula: 'median(x)', count: 4, settings: { onBase: false } },
]

/** Each method, and its formula after it. */
const casesOf = (
  compute: Compute,
  change: (given: Given) => Given,
  shapes: Readonly<Record<string, readonly number[]>>,
): Case[] =>
  PAIRS.flatMap(({ method, formula, count, settings }) => {
    const given = Object.entries(models(count, compute, settings, shapes)).map(
      ([name, one]) => [name, change(one)] as const,
    )
    const written = given.map(([name, one]) => [name, { ...one, parameters: { ...one.parameters, formula } }] as const)
    return [
      { method, tensors: Object.fromEntries(given) },
      { method: 'formula', tensors: Object.fromEntries(written) },
    ]
  })

async function assertEqualBytes(cases: readonly Case[], dtype: OutputDtype, output: OutputDtype): Promise<void> {
  const merged = await mergeAll(cases, { dtype, output })
  for (const [index, { method, formula }] of PAIRS.entries())
    assert.ok(
      merged[2 * index]!.bytes.equals(merged[2 * index + 1]!.bytes),
      `${method} as ${formula} from ${dtype} to ${output}`,
    )
}

const SMALL = { 'model.layers.1.rows': [13, 101], odd: [4099] }

for (const [compute, dtype, shapes] of [
  ['float32', 'BF16', SHAPES],
  ['float32', 'F32', SMALL],
  ['float32', 'F16', SMALL],
  ['float64', 'F64', SMALL],
  ['float64', 'F32', SMALL],
] as const)
  test(`in ${compute} from ${dtype}: the same bytes`, () =>
    assertEqualBytes(
      casesOf(compute, (given) => given, shapes),
      dtype,
      dtype,
    ))

/** Few magnitudes, so that quantiles fall among equals; zeros of both signs, infinities that all share or not, NaN. */
const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0, 1e-42]
const roughly = (given: Given): Given => {
  const rough = (x: Tensor, model: number): Tensor =>
    x.map((value, i) => {
      if (i % 31 === 3) return Number.NEGATIVE_INFINITY
      if (i % 89 === model) return SPECIAL[Math.floor(i / 89) % SPECIAL.length]!
      return Math.round(value * 400) / 128
    })
  return { ...given, inputs: given.inputs.map(rough), ...(given.base ? { base: rough(given.base, 50) } : {}) }
}

for (const compute of ['float32', 'float64'] as const)
  test(`in ${compute}: the same bytes with equal magnitudes, infinities and NaN`, async () => {
    const shapes = { rows: [70, 101], odd: [4099] }
    for (const dtype of ['F32', 'BF16'] as const)
      await assertEqualBytes(casesOf(compute, roughly, shapes), dtype, 'F32')
  })

test.run()
