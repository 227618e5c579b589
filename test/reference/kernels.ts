/**
 * The law: what the kernels compute, one element after the other, in plain TypeScript on numbers. Tests hold the
 * kernels to the same bits; nothing else uses it.
 *
 * Values travel as float64, in which those of every smaller dtype are exact; NaN is NaN, whatever its bits.
 */
import type { FloatDtype, OutputDtype } from '../../src/core/dtypes.js'
import { CHUNK, type Compute, type MapKernel, type ReduceKernel } from '../../src/kernels/types.js'

/** Precision with the leading bit, least exponent of a normal number, largest finite number. */
interface Format {
  readonly bytes: number
  readonly precision: number
  readonly least: number
  readonly largest: number
  readonly infinities: boolean
}

const power = (exponent: number): number => 2 ** exponent

export const FORMATS: Readonly<Record<FloatDtype, Format>> = {
  F64: { bytes: 8, precision: 53, least: -1022, largest: Number.MAX_VALUE, infinities: true },
  F32: { bytes: 4, precision: 24, least: -126, largest: (2 - power(-23)) * power(127), infinities: true },
  F16: { bytes: 2, precision: 11, least: -14, largest: 65504, infinities: true },
  BF16: { bytes: 2, precision: 8, least: -126, largest: (2 - power(-7)) * power(127), infinities: true },
  F8_E5M2: { bytes: 1, precision: 3, least: -14, largest: 57344, infinities: true },
  F8_E4M3: { bytes: 1, precision: 4, least: -6, largest: 448, infinities: false },
}

const NAN_BITS: Readonly<Record<OutputDtype, bigint>> = {
  F64: 0x7ff8000000000000n,
  F32: 0x7fc00000n,
  F16: 0x7e00n,
  BF16: 0x7fc0n,
}

const readBits = (bytes: Uint8Array, at: number, count: number): bigint => {
  let bits = 0n
  for (let i = count - 1; i >= 0; i--) bits = (bits << 8n) | BigInt(bytes[at + i]!)
  return bits
}

/** The value of a bit pattern, by the definition: sign, exponent, fraction. */
function value(bits: bigint, format: Format): number {
  const fractionBits = format.precision - 1
  const exponentBits = format.bytes * 8 - 1 - fractionBits
  const fraction = Number(bits & ((1n << BigInt(fractionBits)) - 1n))
  const exponent = Number((bits >> BigInt(fractionBits)) & ((1n << BigInt(exponentBits)) - 1n))
  const sign = bits >> BigInt(format.bytes * 8 - 1) ? -1 : 1
  const unit = power(format.least - fractionBits)
  if (exponent === 0) return sign * fraction * unit
  if (exponent === power(exponentBits) - 1) {
    if (format.infinities) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
    if (fraction === power(fractionBits) - 1) return Number.NaN
  }
  return sign * (1 + fraction / power(fractionBits)) * power(format.least + exponent - 1)
}

const scratch = new DataView(new ArrayBuffer(8))

/** The exponent of a finite number that is not 0: 2^e ≤ |x| < 2^(e+1). */
function exponentOf(x: number): number {
  scratch.setFloat64(0, x)
  const field = (scratch.getUint16(0) >> 4) & 0x7ff
  return field === 0 ? exponentOf(x * power(54)) - 54 : field - 1023
}

const nearestEven = (x: number): number => {
  const below = Math.floor(x)
  const rest = x - below
  if (rest === 0.5) return below % 2 === 0 ? below : below + 1
  return rest < 0.5 ? below : below + 1
}

/** x rounded to the format, to nearest even, as a multiple of the unit in its last place. */
export function roundTo(dtype: FloatDtype, x: number): number {
  if (!Number.isFinite(x) || x === 0 || dtype === 'F64') return x
  const { precision, least, largest } = FORMATS[dtype]
  const unit = power(Math.max(exponentOf(x), least) - (precision - 1))
  const rounded = Math.sign(x) * nearestEven(Math.abs(x) / unit) * unit
  return Math.abs(rounded) > largest ? Math.sign(x) * Number.POSITIVE_INFINITY : rounded
}

function bitsOf(dtype: OutputDtype, x: number): bigint {
  if (Number.isNaN(x)) return NAN_BITS[dtype]
  const { bytes, precision, least, largest } = FORMATS[dtype]
  const fractionBits = precision - 1
  const sign = x < 0 || Object.is(x, -0) ? 1n << BigInt(bytes * 8 - 1) : 0n
  const magnitude = Math.abs(x)
  if (magnitude === 0) return sign
  const exponent = Math.max(magnitude > largest ? exponentOf(largest) + 1 : exponentOf(magnitude), least)
  // Steps of the unit from zero: without the leading bit a subnormal number, whose exponent field is 0.
  const steps = magnitude > largest ? power(fractionBits) : magnitude / power(exponent - fractionBits)
  return sign | ((BigInt(exponent - least) << BigInt(fractionBits)) + BigInt(steps))
}

/** Exact values, rounded to f32 in that compute type: only float64 notices. */
export function decode(dtype: FloatDtype, compute: Compute, bytes: Uint8Array): Float64Array {
  const format = FORMATS[dtype]
  const values = new Float64Array(bytes.length / format.bytes)
  for (let i = 0; i < values.length; i++) {
    const exact = value(readBits(bytes, i * format.bytes, format.bytes), format)
    values[i] = compute === 'f32' ? roundTo('F32', exact) : exact
  }
  return values
}

export function encode(dtype: OutputDtype, values: Float64Array): Uint8Array {
  const { bytes: size } = FORMATS[dtype]
  const bytes = new Uint8Array(values.length * size)
  for (let i = 0; i < values.length; i++) {
    const bits = bitsOf(dtype, roundTo(dtype, values[i]!))
    for (let b = 0; b < size; b++) bytes[i * size + b] = Number((bits >> BigInt(8 * b)) & 0xffn)
  }
  return bytes
}

export interface MapCall {
  readonly inputs: readonly Float64Array[]
  /** Also says how many elements there are. */
  readonly base: Float64Array
  readonly coefficients: readonly number[]
}

/** Each operation rounded to the compute type. In float64 those of float32 are exact or innocuously rounded twice. */
export function map(name: MapKernel, compute: Compute, { inputs, base, coefficients }: MapCall): Float64Array {
  const round = compute === 'f32' ? Math.fround : (x: number) => x
  return base.map((origin, e) => {
    const terms = inputs.map((input, i) => {
      const x = input[e]!
      return round(round(coefficients[i]!) * (name === 'task' ? round(x - origin) : x))
    })
    const sum = terms.length === 0 ? 0 : terms.reduce((sum, term) => round(sum + term))
    return name === 'task' ? round(origin + sum) : sum
  })
}

/** x + scale · Σ l·r over the rank, in order, each operation rounded; where the change is 0, x itself. */
export function addProduct(
  compute: Compute,
  x: number,
  left: ArrayLike<number>,
  right: ArrayLike<number>,
  scale: number,
): number {
  const round = compute === 'f32' ? Math.fround : (x: number) => x
  let sum = 0
  for (let k = 0; k < left.length; k++) sum = round(sum + round(left[k]! * right[k]!))
  const change = round(sum * round(scale))
  return change === 0 ? x : round(x + change)
}

/** What is added to the sums, chunk by chunk. */
export function reduce(_name: ReduceKernel, [a, b]: readonly [Float64Array, Float64Array]): number[] {
  const sums = [0, 0, 0]
  for (let start = 0; start < a.length; start += CHUNK) {
    const lanes = sums.map(() => [0, 0, 0, 0])
    for (let e = start; e < Math.min(start + CHUNK, a.length); e++) {
      const x = a[e]!
      const y = b[e]!
      for (const [k, product] of [x * x, y * y, x * y].entries()) lanes[k]![(e - start) % 4]! += product
    }
    for (const [k, [l0, l1, l2, l3]] of lanes.entries()) sums[k]! += l0! + l2! + (l1! + l3!)
  }
  return sums
}
