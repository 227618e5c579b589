/**
 * Random numbers for methods that drop elements at random. The generator is counter-based: the number of an element
 * depends only on the element, not on time, thread or order.
 *
 * Generator: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * Stream: SHA-256 of the UTF-8 text of `JSON.stringify(['terge-random-1', seed, model, tensor])`, where `model` is the
 * name in the recipe. Its first 16 bytes are four little-endian u32 words d0 … d3. The key is (d0, d1), and (d2, d3) is
 * the upper half of the counter.
 *
 * Element i (row-major index in the tensor) uses word i mod 4 of block b = ⌊i/4⌋, whose counter is (b mod 2³², ⌊b/2³²⌋,
 * d2, d3). Four neighbours share a block, so that a SIMD kernel uses every word.
 *
 * Uniform: (word >>> 8) · 2⁻²⁴, in [0, 1), exact in float32. All of this is part of the format, and the kernels
 * implement the same.
 */
import { createHash } from 'node:crypto'

/** A stream: Philox's key and the upper half of its counter. */
export type RandomStream = readonly [key0: number, key1: number, counter2: number, counter3: number]

const MULTIPLIER_0 = 0xd2511f53
const MULTIPLIER_1 = 0xcd9e8d57
const WEYL_0 = 0x9e3779b9
const WEYL_1 = 0xbb67ae85
const ROUNDS = 10

/** The upper 32 bits of the product of two u32. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16]
  // Each partial sum is below 2³².
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16)
  const other = aLow * bHigh + (middle & 0xffff)
  return aHigh * bHigh + (middle >>> 16) + (other >>> 16)
}

/** Philox4x32-10 of a counter of four u32 under a key of two: four u32. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter
  let [k0, k1] = key
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0)
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0
    const high1 = multiplyHigh(MULTIPLIER_1, c2)
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0
    k0 = (k0 + WEYL_0) >>> 0
    k1 = (k1 + WEYL_1) >>> 0
  }
  return [c0, c1, c2, c3]
}

/** The stream of a model's tensor. `seed` is a whole number, `model` the name in the recipe. */
export function randomStream(seed: number, model: string, tensor: string): RandomStream {
  if (!Number.isSafeInteger(seed)) throw new Error(`internal: the seed ${seed} is not an integer`)
  // JSON separates the three for any characters in the names.
  const digest = createHash('sha256')
    .update(JSON.stringify(['terge-random-1', seed, model, tensor]), 'utf8')
    .digest()
  return [digest.readUInt32LE(0), digest.readUInt32LE(4), digest.readUInt32LE(8), digest.readUInt32LE(12)]
}
