/** Random formulas against the scalar reference, bit for bit; layers, gradients, and values per model. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { seeded } from '../recipe/helpers.js'
import type { Compute, Given, Tensor } from '../reference/numeric.js'
import { assertReferences, merge } from './harness.js'
import { models } from './samples.js'

/** A generator of formulas in which no number is undefined before tensors are read. */
function formulas(seed: number): () => string {
  const next = seeded(seed)
  const one = (...choices: readonly (() => string)[]): string => choices[next(choices.length)]!()
  const number = (): string =>
    one(
      () => '2',
      () => '0.5',
      () => '1e-3',
      () => 't',
      () => '(1 + layer)',
      () => '-0.25',
    )
  const scalar = (inModels: boolean): string =>
    one(
      number,
      () => (inModels ? 'w' : 'w[1]'),
      () => (inModels ? 'd' : 'd[0]'),
      () => `(${number()} + ${number()})`,
      () => 'sum(w)',
    )
  const place = (inModels: boolean): string => (inModels && next(4) > 0 ? '' : `[${next(3)}]`)
  const leaf = (inModels: boolean): string =>
    one(
      () => `x${place(inModels)}`,
      () => `delta${place(inModels)}`,
      () => `delta${place(inModels)}`,
      () => 'base',
    )
  function element(depth: number, inModels: boolean): string {
    if (depth === 0) return leaf(inModels)
    const e = (): string => element(depth - 1, inModels)
    const own = leaf(inModels)
    const over = (): string => element(depth - 1, true)
    return one(
      () => `${e()} + ${e()}`,
      () => `(${e()} - ${e()})`,
      () => `${scalar(inModels)} * (${e()})`,
      () => `(${e()}) * (${e()})`,
      () => `(${e()}) / (1 + abs(${e()}))`,
      () => `-(${e()})^2`,
      () => `abs(${e()})^${number()}`,
      () => `sqrt(abs(${e()}))`,
      () => `tanh(${e()})`,
      () => `log(1 + exp(${e()}))`,
      () => `sign(${e()})`,
      () => `clamp(${e()}, -0.01, ${next(2) ? 't' : '0.02'})`,
      () => `${next(2) ? 'min' : 'max'}(${e()}, ${e()})`,
      () => `where(${e()} ${['<', '<=', '>', '>=', '==', '!='][next(6)]} ${e()}, ${e()}, ${scalar(inModels)})`,
      () =>
        `where(abs(${own}) ${next(2) ? '>=' : '<'} tensor_quantile(abs(${own}), ${next(2) ? '1 - d[0]' : '0.7'}), ${e()}, 0)`,
      () => `where(tensor_quantile(${own}, 0.4) ${next(2) ? '<=' : '>'} ${own}, ${e()}, 1)`,
      () => `${['sum', 'mean', 'min', 'max', 'median'][next(5)]}(${over()})`,
      () => `(${e()}) / (1 + tensor_${['norm', 'max', 'mean'][next(3)]}(abs(${e()})))`,
    )
  }
  return () => `base + 0.5 * (${element(3, false)})`
}

const SHAPES = { 'model.layers.0.w': [3, 101], 'model.layers.1.w': [4099], one: [1] }
const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0, 1e-42]
/** Rounded, so that many are equal, with some that are special: of a model, or of all. */
const rough = (given: Given): Given => {
  const change = (x: Tensor, model: number): Tensor =>
    x.map((value, i) => {
      if (i % 97 === 3) return Number.NEGATIVE_INFINITY
      if (i % 61 === model) return SPECIAL[Math.floor(i / 61) % SPECIAL.length]!
      return Math.round(value * 256) / 256
    })
  return { ...given, inputs: given.inputs.map(change), base: change(given.base!, 50) }
}

for (const [compute, dtype, seed] of [
  ['float32', 'F32', 1],
  ['float32', 'BF16', 2],
  ['float64', 'F64', 3],
] as const)
  test(`random formulas in ${compute} from ${dtype}: the reference, bit for bit`, async () => {
    const make = formulas(seed)
    const cases = Array.from({ length: 16 }, (_, index) => {
      const parameters = { formula: make(), t: 0.003, d: [0.3, 0.71, 0.05] }
      const used = Object.fromEntries(
        Object.entries(parameters).filter(
          ([name]) => name === 'formula' || new RegExp(`\\b${name}\\b`).test(parameters.formula),
        ),
      )
      const weights = /\bw\b/.test(parameters.formula) ? { weights: [0.5, 0, 1.25] } : {}
      const given = models(3, compute as Compute, { ...weights, parameters: used }, SHAPES)
      const tensors =
        index % 2 ? Object.fromEntries(Object.entries(given).map(([name, one]) => [name, rough(one)])) : given
      return { method: 'formula', tensors }
    })
    await assertReferences(cases, { dtype })
  })

test('a formula can have a tensor of more than one tile, and any number of threads', async () => {
  const formula = 'base + sum(where(abs(delta) >= tensor_quantile(abs(delta), 0.9), delta, 0)) / tensor_norm(base)'
  const tensors = models(2, 'float32', { parameters: { formula } }, { large: [301, 881] })
  const [one, two] = [await merge('formula', tensors), await merge('formula', tensors, { threads: 2 })]
  assert.ok(one.bytes.equals(two.bytes))
})

test('numbers that are not finite with these weights and parameters are refused, and those that are not looked at are not', async () => {
  const run = (formula: string, weights: readonly number[], t: number) =>
    merge('formula', models(2, 'float32', { weights, parameters: { formula, t } }, { w: [5] }))
  const wrong = async (...given: Parameters<typeof run>): Promise<string> => {
    try {
      await run(...given)
      return ''
    } catch (error) {
      return String((error as Error).message)
    }
  }
  assert.match(
    await wrong('base + t * sum(w / sum(w) * delta)', [1, -1], 1),
    /is Infinity with these weights and parameters/,
  )
  assert.match(await wrong('base + sum(w * delta) * tensor_quantile(base, t)', [1, 1], 2), /must be from 0 to 1/)
  assert.is(await wrong('base + sum(w * delta) * where(t == 0, 1, 1 / t)', [1, 1], 0), '')
})

test('the lineage says the formula, its parameters, and weights only where they are used', async () => {
  const parameters = { formula: 'base + t * sum(delta) + 0 * layer', t: 0.5 }
  const { lineage } = await merge('formula', models(2, 'float32', { parameters }, { 'model.layers.0.w': [8] }))
  const tensor = lineage.tensors['model.layers.0.w']!
  assert.equal(tensor.parameters.formula, parameters.formula)
  assert.equal(tensor.parameters.layer, 0)
  assert.equal(
    tensor.sources.map(({ weight }) => weight),
    [null, null],
  )
})

test.run()
