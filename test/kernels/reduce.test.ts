import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CHUNK, type Compute } from '../../src/kernels/index.js'
import { context, kernelBackend, kernels, put, randomValues, referenceBackend } from './backends.js'

const COMPUTES: readonly Compute[] = ['f32', 'f64']

for (const backend of [referenceBackend, kernelBackend()])
  test(`${backend.name}: what dots means`, () => {
    for (const compute of COMPUTES) {
      const sums = backend.reduce('dots', compute, [Float64Array.of(1, 2, 3), Float64Array.of(4, -5, 6)])
      assert.equal(sums, [14, 77, 12])
    }
    // In float64 the square of 1 + 2^-20 is exact; summed in float32 it would lose its last bits.
    const x = 1 + 2 ** -20
    assert.equal(backend.reduce('dots', 'f32', [Float64Array.of(x), Float64Array.of(1)]), [x * x, 1, x])
  })

test('dots: the reference to the last bit, all lengths, misaligned, over several chunks', () => {
  for (const n of [...Array(71).keys(), CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 2]) {
    const inputs = [randomValues(n, n), randomValues(n + 1, n)] as const
    for (const compute of COMPUTES)
      assert.equal(
        kernelBackend(n % 4).reduce('dots', compute, inputs),
        referenceBackend.reduce('dots', compute, inputs),
      )
  }
})

test('dots: straight from stored elements as from decoded ones, and added to what the sums hold', () => {
  const n = 2 * CHUNK + 7
  for (const dtype of ['BF16', 'F16', 'F32'] as const) {
    const inputs = [randomValues(5, n, dtype), randomValues(6, n, dtype)] as const
    const expected = referenceBackend.reduce('dots', 'f32', inputs)
    context.bind({ inputs: put(1, ...inputs.map((values) => referenceBackend.encode('f32', dtype, values))) })
    context.clearSums()
    kernels.fusedReduce('dots', dtype)!(context.address, n)
    assert.equal([...context.readSums()], expected)
    kernels.fusedReduce('dots', dtype)!(context.address, 1)
    const [a, b] = [inputs[0][0]!, inputs[1][0]!]
    assert.equal([...context.readSums()], [expected[0]! + a * a, expected[1]! + b * b, expected[2]! + a * b])
  }
})

test.run()
