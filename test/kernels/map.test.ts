import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { FloatDtype, OutputDtype } from '../../src/core/dtypes.js'
import { CHUNK, type Compute, type MapKernel } from '../../src/kernels/index.js'
import { FORMATS, type MapCall } from '../reference/kernels.js'
import {
  type Backend,
  bytesAt,
  context,
  kernelBackend,
  kernels,
  put,
  randomBytes,
  randomValues,
  referenceBackend,
} from './backends.js'

const NAMES: readonly MapKernel[] = ['linear', 'task']
const COMPUTES: readonly Compute[] = ['f32', 'f64']
const LENGTHS = [...Array(71).keys(), CHUNK - 1, CHUNK, CHUNK + 1]
const COEFFICIENTS = [0.3, -0.7, 1 / 3, 1, -2, 1e-3, 0.11, 5]

function call(inputs: number, n: number): MapCall {
  const coefficients = COEFFICIENTS.slice(0, inputs)
  return { inputs: coefficients.map((_, i) => randomValues(i + 1, n)), base: randomValues(99, n), coefficients }
}

const same = (a: Float64Array, b: Float64Array, what: string): void => {
  const at = a.findIndex((x, i) => !Object.is(x, b[i]))
  if (a.length !== b.length || at >= 0) assert.unreachable(`${what}: [${at}] is ${a[at]} for ${b[at]}`)
}

for (const backend of [referenceBackend, kernelBackend()] satisfies readonly Backend[])
  test(`${backend.name}: what linear and task mean`, () => {
    const values = { inputs: [Float64Array.of(1, 2), Float64Array.of(10, -4)], base: Float64Array.of(3, 5) }
    for (const compute of COMPUTES) {
      assert.equal([...backend.map('linear', compute, { ...values, coefficients: [0.5, 0.25] })], [3, 0])
      assert.equal([...backend.map('task', compute, { ...values, coefficients: [0.5, 0.25] })], [3.75, 1.25])
      const none = { inputs: [], base: values.base, coefficients: [] }
      assert.equal([...backend.map('linear', compute, none)], [0, 0])
      assert.equal([...backend.map('task', compute, none)], [3, 5])
      // The sum starts with a product, not with 0, so that one input with coefficient 1 is itself, −0 too.
      const one = { inputs: [Float64Array.of(-0, 0)], base: values.base, coefficients: [1] }
      same(backend.map('linear', compute, one), Float64Array.of(-0, 0), compute)
    }
  })

for (const name of NAMES)
  for (const compute of COMPUTES)
    test(`${name} in ${compute}: the reference's bits for 0 to 8 inputs, all lengths, misaligned`, () => {
      for (let inputs = 0; inputs <= 8; inputs++) {
        for (const n of inputs < 5 ? LENGTHS : [0, 1, 15, 16, 17, 33, CHUNK + 1]) {
          const given = call(inputs, n)
          const expected = referenceBackend.map(name, compute, given)
          same(kernelBackend(n % 3).map(name, compute, given), expected, `${inputs} inputs, ${n} elements`)
        }
      }
    })

/** Stored inputs through decode, kernel and encode, chunk by chunk. */
function unfused(name: MapKernel, dtype: OutputDtype, stored: readonly Uint8Array[], n: number): Uint8Array {
  const { bytes } = FORMATS[dtype]
  const result = new Uint8Array(n * bytes)
  for (let from = 0; from < n; from += CHUNK) {
    const m = Math.min(CHUNK, n - from)
    const places = put(
      0,
      ...stored.map((whole) => whole.subarray(from * bytes, (from + m) * bytes)),
      ...stored.map(() => new Uint8Array(m * 4)),
      new Uint8Array(m * 4),
      new Uint8Array(m * bytes),
    )
    const [output, sum] = [places.pop()!, places.pop()!]
    const decoded = places.slice(stored.length)
    for (const [i, at] of decoded.entries()) kernels.decode(dtype, 'f32')(places[i]!, at, m)
    context.bind({ inputs: decoded.slice(0, -1), base: decoded.at(-1)!, output: sum })
    kernels.map(name, 'f32')(context.address, m)
    kernels.encode('f32', dtype)(sum, output, m)
    result.set(bytesAt(output, m * bytes), from * bytes)
  }
  return result
}

function fused(name: MapKernel, dtype: FloatDtype, stored: readonly Uint8Array[], n: number, skew: number): Uint8Array {
  const { bytes } = FORMATS[dtype]
  const places = put(skew, ...stored, new Uint8Array(n * bytes + 8).fill(0x5a))
  const output = places.pop()!
  context.bind({ inputs: places.slice(0, -1), base: places.at(-1)!, output })
  kernels.fused(name, dtype)!(context.address, n)
  assert.equal([...bytesAt(output + n * bytes, 8)], Array(8).fill(0x5a), 'bytes after the output')
  return bytesAt(output, n * bytes)
}

for (const name of NAMES)
  for (const dtype of ['BF16', 'F16', 'F32'] as const)
    test(`fused ${name} ${dtype}: the bits of decode, kernel, encode, whatever the inputs' bits`, () => {
      const { bytes } = FORMATS[dtype]
      for (let inputs = 0; inputs <= 5; inputs++) {
        context.setCoefficients(COEFFICIENTS.slice(0, inputs))
        for (const n of [...Array(40).keys(), CHUNK, 3 * CHUNK + 5]) {
          // Random bits: infinities, NaN and subnormals among them.
          const stored = Array.from({ length: inputs + 1 }, (_, i) => randomBytes(n + i, n * bytes))
          const expected = unfused(name, dtype, stored, n)
          const actual = fused(name, dtype, stored, n, n % 2)
          if (Buffer.compare(actual, expected) !== 0) assert.unreachable(`${inputs} inputs, ${n} elements`)
        }
      }
    })

test('fused: finite inputs without NaN, over many chunks', () => {
  const n = 16 * CHUNK
  for (const dtype of ['BF16', 'F16'] as const) {
    const stored = [1, 2, 3].map((seed) => referenceBackend.encode('f32', dtype, randomValues(seed, n, dtype)))
    context.setCoefficients([0.5, 0.25])
    const expected = unfused('linear', dtype, stored, n)
    assert.is(Buffer.compare(fused('linear', dtype, stored, n, 0), expected), 0)
  }
})

test('fused: undefined if there is no such kernel', () => {
  assert.is(kernels.fused('linear', 'F8_E4M3'), undefined)
  assert.is(kernels.fused('linear', 'BF16', 'f64'), undefined)
  assert.is(kernels.fused('linear', 'F64'), undefined)
  assert.is(kernels.fused('linear', 'F64', 'f64'), kernels.map('linear', 'f64'))
})

test.run()
