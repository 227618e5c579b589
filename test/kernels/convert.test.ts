import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { FloatDtype, OutputDtype } from '../../src/core/dtypes.js'
import { ENCODINGS } from '../../src/encodings/index.js'
import { CHUNK, type Compute } from '../../src/kernels/index.js'
import { FORMATS, roundTo } from '../reference/kernels.js'
import { type Backend, generator, kernelBackend, randomBytes, randomValues, referenceBackend } from './backends.js'

/** By kernel, so that an encoding that is added comes under the same tests. */
const DTYPES: readonly FloatDtype[] = ENCODINGS.flatMap(({ read }) => read ?? [])
const OUTPUTS: readonly OutputDtype[] = ENCODINGS.flatMap(({ write }) => write?.kernel ?? [])
const COMPUTES: readonly Compute[] = ['f32', 'f64']
const BACKENDS: readonly Backend[] = [referenceBackend, kernelBackend()]

/** Every bit pattern of a short dtype, random ones and many special ones of a long one. */
const patterns = (dtype: FloatDtype): Uint8Array => PATTERNS[dtype]

function makePatterns(dtype: FloatDtype): Uint8Array {
  const { bytes } = FORMATS[dtype]
  if (bytes === 1) return Uint8Array.from({ length: 256 }, (_, i) => i)
  if (bytes === 2) return new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer)
  const random = randomBytes(7, 12000 * bytes)
  const top = [0x00, 0x80, 0x7f, 0xff]
  // A third of them near zero or among the infinities and NaN, where random exponents hardly come.
  for (let i = 0; i < random.length; i += 3 * bytes) {
    random[i + bytes - 1] = top[(i / (3 * bytes)) % 4]!
    random[i + bytes - 2] =
      (random[i + bytes - 1]! & 0x7f) === 0 ? random[i]! & (bytes === 4 ? 0x7f : 0x0f) : random[i]! | 0x80
  }
  return random
}

const PATTERNS = Object.fromEntries(DTYPES.map((dtype) => [dtype, makePatterns(dtype)])) as Record<
  FloatDtype,
  Uint8Array
>

/** Numbers of a dtype with their neighbours in float64, and the points halfway to the next, with theirs. */
function borders(dtype: OutputDtype): Float64Array {
  const next = generator(11)
  const { least, largest, precision } = FORMATS[dtype]
  const values: number[] = [
    largest,
    largest * (1 + 2 ** -precision),
    largest * (1 + 2 ** -(precision + 1)),
    Number.MAX_VALUE,
  ]
  const unit = 2 ** (least - (precision - 1))
  for (let i = 0; i < 40; i++) values.push((i * unit) / 2, (i * unit) / 4, (2 ** (precision - 1) - 20 + i / 2) * unit)
  for (let i = 0; i < 600; i++) {
    const x = roundTo(dtype, (1 + next() / 2 ** 32) * 2 ** ((next() % (2 - least + 20)) + least - 10))
    values.push(x, x * (1 + 2 ** -precision), x + unit / 2)
  }
  const near = values.flatMap((x) => [
    x,
    x * (1 + 2 ** -52),
    x * (1 - 2 ** -53),
    x * (1 + 2 ** -23),
    x * (1 - 2 ** -24),
  ])
  return Float64Array.from(near.flatMap((x) => [x, -x]))
}

const same = (a: Float64Array, b: Float64Array, what: string): void => {
  if (a.length !== b.length) assert.unreachable(`${what}: ${a.length} for ${b.length} elements`)
  for (let i = 0; i < a.length; i++)
    if (!Object.is(a[i], b[i])) assert.unreachable(`${what}: [${i}] ${a[i]} for ${b[i]}`)
}

const sameBytes = (a: Uint8Array, b: Uint8Array, what: string): void => {
  if (Buffer.compare(a, b) === 0) return
  const i = a.findIndex((byte, index) => byte !== b[index])
  assert.unreachable(`${what}: byte ${i} is ${a[i]} for ${b[i]}, ${a.length} for ${b.length} bytes`)
}

test('every encoding that is read has a scalar reference of its byte values, and one that is written has the way back', () => {
  for (const { name, bits, read, write, refusal } of ENCODINGS) {
    if (!read) assert.is(write, undefined, name)
    else {
      assert.ok(read in FORMATS, `${name}: no definition in test/reference/kernels.ts to hold its kernels to`)
      assert.is(FORMATS[read].bytes * 8, bits, name)
      assert.ok(write || refusal, `${name}: is read, and nothing says why it is not written`)
    }
  }
  assert.equal(Object.keys(FORMATS).sort(), [...DTYPES].sort())
})

for (const backend of BACKENDS) {
  test(`${backend.name}: values that the formats' definitions name`, () => {
    const value = (dtype: FloatDtype, ...bytes: number[]) => backend.decode(dtype, 'f64', Uint8Array.from(bytes))[0]
    assert.is(value('F8_E4M3', 0x7e), 448)
    assert.is(value('F8_E4M3', 0x01), 2 ** -9)
    assert.ok(Number.isNaN(value('F8_E4M3', 0xff)))
    assert.is(value('F8_E5M2', 0x7b), 57344)
    assert.is(value('F8_E5M2', 0xfc), Number.NEGATIVE_INFINITY)
    assert.is(value('F16', 0x01, 0x00), 2 ** -24)
    assert.is(value('F16', 0xff, 0x7b), 65504)
    assert.is(value('BF16', 0x80, 0x3f), 1)
    assert.is(value('BF16', 0x01, 0x80), -(2 ** -133))
    assert.is(value('F32', 0x01, 0x00, 0x00, 0x00), 2 ** -149)
  })

  test(`${backend.name}: encode undoes decode, and makes every NaN the same`, () => {
    const nan = { F64: '000000000000f87f', F32: '0000c07f', F16: '007e', BF16: 'c07f' }
    for (const dtype of OUTPUTS) {
      for (const compute of COMPUTES) {
        if (dtype === 'F64' && compute === 'f32') continue
        const { bytes } = FORMATS[dtype]
        const source = Buffer.from(patterns(dtype))
        const values = backend.decode(dtype, compute, source)
        const expected = Buffer.from(source)
        for (const [i, x] of values.entries()) if (Number.isNaN(x)) expected.write(nan[dtype], i * bytes, 'hex')
        sameBytes(backend.encode(compute, dtype, values), expected, `${dtype} through ${compute}`)
      }
    }
  })

  test(`${backend.name}: one rounding, to nearest even, also where float32 lies halfway`, () => {
    const bits = (dtype: OutputDtype, x: number) =>
      Buffer.from(backend.encode('f64', dtype, Float64Array.of(x)))
        .reverse()
        .toString('hex')
    assert.is(bits('BF16', 1 + 2 ** -8), '3f80')
    assert.is(bits('BF16', 1 + 3 * 2 ** -8), '3f82')
    assert.is(bits('BF16', 1 + 2 ** -8 + 2 ** -40), '3f81')
    assert.is(bits('F16', 1 + 2 ** -11 + 2 ** -40), '3c01')
    assert.is(bits('F16', 65519.99999999999), '7bff')
    assert.is(bits('F16', 65520), '7c00')
    assert.is(bits('F16', 2 ** -25), '0000')
    assert.is(bits('F16', -(2 ** -25) * (1 + 2 ** -50)), '8001')
    assert.is(bits('BF16', 2 ** -134 * (1 + 2 ** -50)), '0001')
    assert.is(bits('F32', 1e300), '7f800000')
  })
}

for (const dtype of DTYPES)
  test(`decode ${dtype}: the reference's values for every bit pattern`, () => {
    for (const compute of COMPUTES) {
      const bytes = patterns(dtype)
      same(kernelBackend().decode(dtype, compute, bytes), referenceBackend.decode(dtype, compute, bytes), compute)
    }
  })

for (const dtype of OUTPUTS)
  test(`encode ${dtype}: the reference's bits for random numbers and on every border`, () => {
    for (const compute of COMPUTES) {
      const given = [
        borders(dtype),
        borders('F16'),
        referenceBackend.decode('F64', 'f64', patterns('F64')),
        randomValues(3, 999),
      ]
      for (const values of [...given, referenceBackend.decode('F32', 'f64', patterns('F32'))]) {
        const rounded = compute === 'f32' ? values.map(Math.fround) : values
        sameBytes(
          kernelBackend().encode(compute, dtype, rounded),
          referenceBackend.encode(compute, dtype, rounded),
          compute,
        )
      }
    }
  })

test('all lengths and misalignments, and not a byte beyond', () => {
  for (const [skew, lengths] of [
    [0, [...Array(71).keys(), CHUNK - 1, CHUNK, CHUNK + 1]],
    [1, [...Array(20).keys()]],
    [7, [...Array(20).keys()]],
  ] as const) {
    const backend = kernelBackend(skew)
    for (const n of lengths) {
      for (const compute of COMPUTES) {
        for (const dtype of DTYPES) {
          const bytes = patterns(dtype).slice(0, n * FORMATS[dtype].bytes)
          const m = bytes.length / FORMATS[dtype].bytes
          same(backend.decode(dtype, compute, bytes), referenceBackend.decode(dtype, compute, bytes), `${dtype} ${m}`)
        }
        for (const dtype of OUTPUTS) {
          const values = randomValues(n, n)
          sameBytes(
            backend.encode(compute, dtype, values),
            referenceBackend.encode(compute, dtype, values),
            `${dtype} ${n}`,
          )
        }
      }
    }
  }
})

test.run()
