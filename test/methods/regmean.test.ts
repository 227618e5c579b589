import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Compute, Given } from '../reference/numeric.js'
import { bell } from '../reference/samples.js'
import { assertReference, assertSteady, merge } from './harness.js'
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

test('statistics that are no Gram matrices are a fault, told while they are used', async () => {
  const all = tensors('float32')
  const bad = { ...all.square!, statistics: all.square!.inputs.map(() => new Float32Array(900).fill(-1)) }
  try {
    await merge('regmean', { square: bad })
    assert.unreachable()
  } catch (error) {
    assert.match(String((error as Error).message), /statistics of square are not positive definite/)
  }
})

test.run()
