import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import type { Compute, Given } from '../reference/numeric.js'
import { bell } from '../reference/samples.js'
import { assertClose, assertReference, assertSteady, merge } from './harness.js'
import { COMPUTES, models } from './samples.js'

/** XᵀX of made-up inputs, of which `silent` are always 0. */
function gram(name: string, inputs: number, silent: readonly number[] = []): Float32Array {
  const samples = inputs + 8
  const data = bell(name, samples * inputs)
  for (let row = 0; row < samples; row++) for (const j of silent) data[row * inputs + j] = 0
  const out = new Float32Array(inputs * inputs)
  for (let i = 0; i < inputs; i++)
    for (let j = 0; j < inputs; j++)
      for (let row = 0; row < samples; row++) out[i * inputs + j]! += data[row * inputs + i]! * data[row * inputs + j]!
  return out
}

const SHAPES = { square: [30, 30], tall: [90, 12], wide: [7, 150], single: [3, 1] }

function tensors(compute: Compute, parameters: Given['parameters'] = {}): Record<string, Given> {
  const all = models(3, compute, { onBase: false, parameters: parameters ?? {} }, SHAPES)
  return Object.fromEntries(
    Object.entries(all).map(([name, given]) => {
      const inputs = given.shape[1]!
      const statistics = given.inputs.map((_, i) => gram(`${name} ${i}`, inputs, inputs === 12 ? [2, 7] : []))
      return [name, { ...given, statistics }]
    }),
  )
}

for (const compute of COMPUTES)
  for (const parameters of [{}, { alpha: 0.3 }])
    test(`regmean in ${compute} ${JSON.stringify(parameters)}`, async () => {
      await assertReference('regmean', tensors(compute, parameters), {
        tolerance: compute === 'float32' ? 2e-6 : 1e-10,
      })
    })

test('regmean: the same bytes on one thread and two, mapped or read', async () => {
  await assertSteady('regmean', tensors('float32'))
})

/** What the run says of `square` with these statistics in each of its models. */
async function refusalOf(statistics: Float32Array): Promise<string> {
  const { square } = tensors('float32')
  try {
    await merge('regmean', { square: { ...square!, statistics: square!.inputs.map(() => statistics) } })
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    assert.is(error.exit, 2, 'nothing was written')
    return error.diagnostics.map(({ code, message }) => `${code}: ${message}`).join('; ')
  }
  return ''
}

test('statistics that are no Gram matrices are refused before anything is written', async () => {
  assert.match(await refusalOf(new Float32Array(900).fill(-1)), /bad-statistics.*30 negative elements on its diagonal/)
  assert.match(await refusalOf(bell('weights', 900)), /bad-statistics.*is not symmetric/)
  assert.match(await refusalOf(gram('nan', 30).fill(Number.NaN, 7, 8)), /bad-statistics.*NaN or infinite/)
  assert.is(await refusalOf(gram('rounded', 30).map((x) => x * (1 + 1e-4 * Math.sin(x)))), '')
})

test('a singular sum of Gram matrices with alpha 1: the mean, and it is reported', async () => {
  const { square } = tensors('float32')
  const outer = Float32Array.from({ length: 900 }, (_, i) => ((1 + Math.floor(i / 30)) * (1 + (i % 30))) / 100)
  const given = { ...square!, parameters: { alpha: 1 }, statistics: square!.inputs.map(() => outer) }
  const { tensors: made, lineage } = await merge('regmean', { square: given })
  const [a, b, c] = square!.inputs
  assertClose(
    made.square!,
    Float64Array.from(a!, (x, i) => (x + b![i]! + c![i]!) / 3),
    1e-6,
    'the mean',
  )
  assert.equal(lineage.tensors.square!.notes, [
    'regmean took the mean: with alpha 1 the sum of the Gram matrices is singular',
  ])
})

test('an infinity or NaN that all models share is the result, and spoils no other element', async () => {
  const { square } = tensors('float32')
  const places = [3, 31, 32, 899]
  const shared = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, Number.NaN, Number.NEGATIVE_INFINITY]
  const put = (values: (place: number) => number) => ({
    ...square!,
    inputs: square!.inputs.map((x) => x.map((value, i) => (places.includes(i) ? values(places.indexOf(i)) : value))),
  })
  const { tensors: made } = await merge('regmean', { square: put((place) => shared[place]!) })
  // The result depends on its row alone, and there on what is not the same in all models.
  const { tensors: wanted } = await merge('regmean', { square: put(() => 0) })
  for (const [i, value] of made.square!.entries())
    if (places.includes(i)) assert.ok(Object.is(value, shared[places.indexOf(i)]), `element ${i}`)
    else assert.is(value, wanted.square![i], `element ${i}`)
  const [first, ...rest] = square!.inputs
  const one = { ...square!, inputs: [first!.map((x, i) => (i === 3 ? Number.POSITIVE_INFINITY : x)), ...rest] }
  const { tensors: spoiled } = await merge('regmean', { square: one })
  assert.not.ok(Number.isFinite(spoiled.square![3]), 'of one model alone it is no result')
  assert.ok(Number.isFinite(spoiled.square![30]), 'and spoils its row alone')
})

test.run()
