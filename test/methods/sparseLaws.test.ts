/** What is true of the methods that drop elements, whatever the tensors: through the executor. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Given, Tensor } from '../reference/numeric.js'
import { assertClose, assertSame, type Case, mergeAll } from './harness.js'
import { models } from './samples.js'

const SHAPE = { w: [37, 101] }
const SPARSE = [
  ...['ties', 'dare_linear', 'dare_ties', 'della_linear', 'della'],
  ...['breadcrumbs', 'breadcrumbs_ties'],
] as const
const parameters = { density: 0.4 }

/** One merge of a tensor `w`. Its models have the names given, whatever else is merged in the same run. */
const one = (method: string, settings: Partial<Given>, change = (x: Tensor): Tensor => x): Case => {
  const { w } = models(3, 'float64', settings, SHAPE) as { w: Given }
  return { method, tensors: { w: { ...w, inputs: w.inputs.map(change), base: change(w.base!) } } }
}

async function merged(cases: readonly Case[]): Promise<Tensor[]> {
  const results = await mergeAll(cases)
  return results.map(({ tensors }) => tensors.w!)
}

const baseOf = ({ tensors }: Case): Tensor => tensors.w!.base!
/** As harness.ts stores it. */
const stored = (x: Tensor) => Float64Array.from(x, Math.fround)

test('density 1 drops nothing: the sums are task arithmetic, the elections ties', async () => {
  const whole = { density: 1, lambda: 0.8, normalize: true }
  const sums = ['task_arithmetic', 'dare_linear', 'della_linear', 'breadcrumbs']
  const elections = ['ties', 'dare_ties', 'della', 'breadcrumbs_ties']
  for (const methods of [sums, elections]) {
    const cases = methods.map((method) => {
      const { density, ...rest } = whole
      const known =
        method === 'task_arithmetic' ? rest : method.startsWith('breadcrumbs') ? { ...whole, gamma: 0 } : whole
      return one(method, { parameters: known, weights: [0.5, -0.3, 0.9] })
    })
    const [expected, ...others] = await merged(cases)
    for (const [index, result] of others.entries()) assertSame(result, expected!, methods[index + 1]!)
  }
})

test('lambda 0 is the base, bit for bit', async () => {
  const cases = SPARSE.map((method) => one(method, { parameters: { ...parameters, lambda: 0 } }))
  for (const [index, result] of (await merged(cases)).entries())
    assertSame(result, stored(baseOf(cases[index]!)), SPARSE[index]!)
})

test('the order of models does not matter', async () => {
  for (const method of [...SPARSE, 'sce']) {
    const weights = method === 'sce' ? {} : { weights: [0.5, 0.3, 0.9] }
    const given = one(method, { ...(method === 'sce' ? {} : { parameters }), ...weights, modelNames: ['a', 'b', 'c'] })
    const { w } = given.tensors as { w: Given }
    const turned = <T>(list: readonly T[]) => [list[2]!, list[0]!, list[1]!]
    const other = {
      ...w,
      inputs: turned(w.inputs),
      modelNames: turned(w.modelNames!),
      ...(w.weights ? { weights: turned(w.weights) } : {}),
    }
    // Runs of their own: within one run names are told apart by number, and random masks hang on names.
    const [expected] = await merged([given])
    const [result] = await merged([{ method, tensors: { w: other } }])
    assertClose(result!, expected!, 1e-6, method)
  }
})

test('a scaled input scales the output', async () => {
  const plain = SPARSE.map((method) => one(method, { parameters }))
  const larger = SPARSE.map((method) => one(method, { parameters }, (x) => x.map((value) => 8 * value)))
  const [results, scaled] = [await merged(plain), await merged(larger)]
  for (const [index, method] of SPARSE.entries())
    assertSame(
      scaled[index]!,
      results[index]!.map((value) => 8 * value),
      method,
    )
})

/** The differences from the base of one model, thinned, and what they were. */
async function thinned(method: string, settings: Record<string, unknown>, seed: number) {
  const { w } = models(1, 'float64', { parameters: settings, seed }, { w: [301, 173] }) as { w: Given }
  const [result] = await merged([{ method, tensors: { w } }])
  const base = stored(w.base!)
  const delta = stored(w.inputs[0]!).map((value, i) => value - base[i]!)
  return { delta, left: Float64Array.from(result!, (value, i) => value - base[i]!) }
}

for (const [method, settings, least] of [
  ['dare_linear', { density: 0.3 }, 0.3],
  ['dare_ties', { density: 0.8 }, 0.8],
  ['della_linear', { density: 0.5, epsilon: 0.2 }, 0.3],
  ['della', { density: 0.6, epsilon: 0.1, normalize: false }, 0.5],
] as const)
  test(`${method}: the kept share is the density and the rescaled differences add up to the whole ones`, async () => {
    for (const seed of [0, 1, 2]) {
      const { delta, left } = await thinned(method, settings, seed)
      const { density } = settings
      const share = left.filter((value) => value !== 0).length / left.length
      assert.ok(Math.abs(share - density) < 4 * Math.sqrt((density * (1 - density)) / left.length), `share ${share}`)
      // The variance of an element is δ²(1/p − 1), its probability at least the least. Against any fixed signs.
      for (const sign of [() => 1, (i: number) => (i % 2 === 0 ? 1 : -1), (i: number) => Math.sign(delta[i]!)]) {
        const bias = left.reduce((sum, value, i) => sum + sign(i) * (value - delta[i]!), 0)
        const variance = delta.reduce((sum, value) => sum + value * value, 0) * (1 / least - 1)
        assert.ok(Math.abs(bias) < 4 * Math.sqrt(variance), `${bias} of ${4 * Math.sqrt(variance)}`)
      }
    }
  })

test('random masks hang on seed and names, not on company', async () => {
  const masks = async (count: number, seed: number, weights: number[]) => {
    const given = models(count, 'float64', { parameters: { density: 0.5 }, seed, weights }, SHAPE) as { w: Given }
    const [result] = await merged([{ method: 'dare_linear', tensors: given }])
    const base = stored(given.w.base!)
    return Array.from(result!, (value, i) => value !== base[i])
  }
  const alone = await masks(1, 3, [1])
  assert.equal(await masks(2, 3, [1, 0]), alone)
  assert.not.equal(await masks(1, 4, [1]), alone)
})

test.run()
