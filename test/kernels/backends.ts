/** Two ways to compute the same: the reference, and the kernels behind the same functions of plain arrays. */

import type { FloatDtype, OutputDtype } from '../../src/core/dtypes.js'
import { WebAssembly } from '../../src/core/webassembly.js'
import {
  ARENA_START,
  type Compute,
  compileKernels,
  contextBytes,
  createContext,
  instantiateKernels,
  type Kernels,
  type MapKernel,
  type ReduceKernel,
} from '../../src/kernels/index.js'
import * as reference from '../reference/kernels.js'
import { xxh3 } from '../reference/xxh3.js'

export interface Backend {
  readonly name: string
  readonly decode: (dtype: FloatDtype, compute: Compute, bytes: Uint8Array) => Float64Array
  readonly encode: (compute: Compute, dtype: OutputDtype, values: Float64Array) => Uint8Array
  readonly map: (name: MapKernel, compute: Compute, call: reference.MapCall) => Float64Array
  readonly reduce: (name: ReduceKernel, compute: Compute, inputs: readonly [Float64Array, Float64Array]) => number[]
  readonly xxh3: (bytes: Uint8Array) => Uint8Array
}

const memory = new WebAssembly.Memory({ initial: 256 })
export const kernels: Kernels = instantiateKernels(await compileKernels(), memory)

const size = { inputs: 12, coefficients: 12, sums: 3 }
export const context = createContext(memory, ARENA_START, size)
const heap = ARENA_START + contextBytes(size)

/** Bytes put one after the other into the memory, each `skew` bytes off its alignment; returns where they lie. */
export function put(skew: number, ...parts: readonly Uint8Array[]): number[] {
  let end = Math.ceil(heap / 64) * 64
  return parts.map((part) => {
    const at = end + skew
    new Uint8Array(memory.buffer, at, part.length).set(part)
    end = Math.ceil((at + part.length) / 64) * 64
    return at
  })
}

export const bytesAt = (at: number, length: number): Uint8Array => new Uint8Array(memory.buffer, at, length).slice()

const WIDTH = { f32: 4, f64: 8 } as const

/** Values as the compute type's bytes; a NaN of float32 is any. */
export const pack = (compute: Compute, values: Float64Array): Uint8Array =>
  compute === 'f64' ? new Uint8Array(values.slice().buffer) : new Uint8Array(Float32Array.from(values).buffer)

export const unpack = (compute: Compute, bytes: Uint8Array): Float64Array =>
  compute === 'f64' ? new Float64Array(bytes.slice().buffer) : Float64Array.from(new Float32Array(bytes.slice().buffer))

const room = (n: number): Uint8Array => new Uint8Array(n).fill(0xa5)

export const kernelBackend = (skew = 0): Backend => ({
  name: `kernels at +${skew}`,
  decode(dtype, compute, bytes) {
    const n = bytes.length / reference.FORMATS[dtype].bytes
    const [source, out] = put(skew, bytes, room(n * WIDTH[compute])) as [number, number]
    kernels.decode(dtype, compute)(source, out, n)
    return unpack(compute, bytesAt(out, n * WIDTH[compute]))
  },
  encode(compute, dtype, values) {
    const length = values.length * reference.FORMATS[dtype].bytes
    const [source, out] = put(skew, pack(compute, values), room(length)) as [number, number]
    kernels.encode(compute, dtype)(source, out, values.length)
    return bytesAt(out, length)
  },
  map(name, compute, { inputs, base, coefficients }) {
    const places = put(skew, ...[...inputs, base, base].map((values) => pack(compute, values)))
    const output = places.pop()!
    context.bind({ inputs: places.slice(0, -1), base: places.at(-1)!, output })
    context.setCoefficients(coefficients)
    kernels.map(name, compute)(context.address, base.length)
    return unpack(compute, bytesAt(output, base.length * WIDTH[compute]))
  },
  reduce(name, compute, inputs) {
    context.bind({ inputs: put(skew, ...inputs.map((values) => pack(compute, values))) })
    context.clearSums()
    kernels.reduce(name, compute)(context.address, inputs[0].length)
    return [...context.readSums()]
  },
  xxh3(bytes) {
    const [source, out] = put(skew, bytes, room(16)) as [number, number]
    kernels.xxh3(source, bytes.length, out)
    return bytesAt(out, 16)
  },
})

export const referenceBackend: Backend = {
  name: 'reference',
  decode: reference.decode,
  encode: (_compute, dtype, values) => reference.encode(dtype, values),
  map: reference.map,
  reduce: (name, _compute, inputs) => reference.reduce(name, inputs),
  xxh3,
}

/** xorshift32 (Marsaglia 2003) from a scrambled seed: 1 to 2^32 − 1. */
export function generator(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1) || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}

export const randomBytes = (seed: number, length: number): Uint8Array => {
  const next = generator(seed)
  return new Uint8Array(Uint32Array.from({ length: Math.ceil(length / 4) }, next).buffer).slice(0, length)
}

/** Numbers like weights, exact in the dtype and so in both compute types. */
export const randomValues = (seed: number, n: number, dtype: FloatDtype = 'F32'): Float64Array => {
  const next = generator(seed)
  return Float64Array.from({ length: n }, () => reference.roundTo(dtype, (next() / 2 ** 31 - 1) / (1 + (next() % 97))))
}
