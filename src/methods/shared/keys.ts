/** Keys of rankings as the numbers that they stand for. */

const floats = new Float32Array(1)
const bits = new Uint32Array(floats.buffer)

/** A magnitude: its key is its bits as float32. */
export function magnitudeOf(key: number): number {
  bits[0] = key
  return floats[0]!
}

/** A number of any sign: its key is its bits as float32, in the order of numbers. */
export const numberOf = (key: number): number => magnitudeOf(key >= 2 ** 31 ? key - 2 ** 31 : 2 ** 32 - 1 - key)
