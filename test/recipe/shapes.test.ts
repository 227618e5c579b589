/** `weights` as a shape for the checkpoints of one run. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { type Prepared, plan } from '../../src/session/plan.js'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'

const TENSORS = { 'layers.0.weight': 1, 'layers.1.weight': 2 }

/** The weights of each tensor in a plan of three checkpoints, or the errors. */
const planned = (merge: string): Promise<readonly (readonly number[])[] | readonly string[]> =>
  inFolder(async (folder) => {
    for (const [index, name] of ['a', 'b', 'c', 'shape'].entries())
      writeModel(
        `${folder}/${name}.safetensors`,
        Object.fromEntries(Object.keys(TENSORS).map((tensor) => [tensor, f32([4], numbers(4, index))])),
      )
    const models = ['a', 'b', 'c', 'shape'].map((name) => `${name}: ${name}.safetensors`).join(', ')
    const text = `terge: 1\nmodels: {${models}}\nmerge: {${merge}}\noutput: out.safetensors\n`
    const made = await plan(`${folder}/recipe.yml`, { text }).catch((thrown: unknown) => thrown)
    if (made instanceof Fault) return made.diagnostics.map(({ code, message }) => `${code}: ${message}`)
    return (made as Prepared).plan.outputs[0]!.tensors.map(({ expr }) => (expr.kind === 'merge' ? expr.weights : []))
  })

const near = (given: readonly number[], expected: readonly number[]): boolean =>
  given.length === expected.length && given.every((value, i) => Math.abs(value - expected[i]!) < 1e-15)

test('each shape, oldest first', async () => {
  const [third, root2, root3] = [1 / 3, Math.sqrt(2), Math.sqrt(3)]
  for (const [shape, expected] of [
    ['shape: uniform', [third, third, third]],
    ['shape: ema, decay: 0.9', [0.81, 0.1 * 0.9, 0.1]],
    ['shape: ema, decay: 0', [0, 0, 1]],
    ['shape: ema, decay: 1', [1, 0, 0]],
    ['shape: linear', [1 / 6, 2 / 6, 3 / 6]],
    ['shape: sqrt', [1 / root3, (root2 - 1) / root3, 1 - root2 / root3]],
  ] as const) {
    const weights = (await planned(`method: linear, models: [a, b, c], weights: {${shape}}`)) as number[][]
    for (const own of weights) assert.ok(near(own, expected), `${shape}: ${own}`)
  }
})

test('of task vectors the base has none; a rule may have another shape; a model may be named shape', async () => {
  const merge = 'method: task_arithmetic, base: a, models: [a, b, c], weights: {shape: linear}'
  const rule = 'rules: [{match: "layers.1.*", weights: {shape: ema, decay: 0.5}}]'
  const weights = (await planned(`${merge}, ${rule}`)) as number[][]
  assert.ok(near(weights[0]!, [1 / 3, 2 / 3]) && near(weights[1]!, [0.5, 0.5]), JSON.stringify(weights))
  assert.equal((await planned('method: linear, models: [a, shape], weights: {shape: 3}'))[0], [1, 3])
})

test('what is wrong with a shape', async () => {
  for (const [weights, error] of [
    ['shape: emma', 'bad-weights: the shape of weights must be uniform, ema, linear or sqrt'],
    ['shape: constructor', 'bad-weights: the shape of weights must be uniform, ema, linear or sqrt'],
    ['shape: ema', 'bad-weights: the decay of ema must be a number from 0 to 1'],
    ['shape: ema, decay: 1.5', 'bad-weights: the decay of ema must be a number from 0 to 1'],
    ['shape: sqrt, decay: 0.5', 'bad-weights: the shape sqrt has no decay'],
    ['shape: linear, a: 1', "bad-weights: weights with a shape have no key 'a'"],
  ] as const)
    assert.equal(await planned(`method: linear, models: [a, b, c], weights: {${weights}}`), [error])
})

test.run()
