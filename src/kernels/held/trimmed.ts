/** The rule of ties on tensors in memory: trim each by magnitude, elect signs, average the values that agree. */
import { eachPiece } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'

type Floats = Float32Array | Float64Array

/** Puts what becomes of them in the place of the first. `room`: address of two float64 a tensor. */
export function mergeTrimmed(
  team: Team,
  parts: readonly Floats[],
  weights: readonly number[],
  densities: readonly number[],
  room: number,
): void {
  const n = parts[0]!.length
  if (n === 0) return
  const thresholds = team.f64(room, 2 * parts.length)
  team.each(parts.length, (index) => {
    const kept = Math.max(1, Math.trunc(densities[index]! * n))
    thresholds.set(kept >= n ? [-1, 0] : threshold(parts[index]!, kept), 2 * index)
  })
  const single = parts[0] instanceof Float32Array
  const round = single ? Math.fround : (x: number) => x
  const rounded = weights.map(round)
  const keys = new Uint32Array(1)
  const magnitude = new Float32Array(keys.buffer)
  const terms = new Float64Array(parts.length)
  eachPiece(team, n, (from, to) => {
    for (let i = from; i < to; i++) {
      let votes = 0
      for (let index = 0; index < parts.length; index++) {
        const value = parts[index]![i]!
        magnitude[0] = Math.abs(value)
        const key = thresholds[2 * index]!
        const keeps = keys[0]! > key || (keys[0]! === key && i < thresholds[2 * index + 1]!)
        const term = keeps && rounded[index] !== 0 ? round(rounded[index]! * value) : 0
        terms[index] = term
        votes = round(votes + term)
      }
      let [total, divisor] = [0, 0]
      for (let index = 0; index < parts.length; index++) {
        const term = terms[index]!
        if (!(votes >= 0 ? term > 0 : term < 0)) continue
        total = round(total + term)
        divisor = round(divisor + rounded[index]!)
      }
      parts[0]![i] = round(total / (divisor === 0 ? 1 : divisor))
    }
  })
}

/** The key of the kept-th largest magnitude as float32, and the index after the last that is kept of those that have it. */
function threshold(values: Floats, kept: number): [key: number, cut: number] {
  const bits = new Uint32Array(1)
  const magnitude = new Float32Array(bits.buffer)
  const keyOf = (value: number): number => {
    magnitude[0] = Math.abs(value)
    return bits[0]!
  }
  const coarse = new Uint32Array(2 ** 16)
  for (let i = 0; i < values.length; i++) coarse[keyOf(values[i]!) >>> 16]!++
  const [upper, above] = descend(coarse, 0, kept)
  const fine = new Uint32Array(2 ** 16)
  for (let i = 0; i < values.length; i++) {
    const key = keyOf(values[i]!)
    if (key >>> 16 === upper) fine[key & 0xffff]!++
  }
  const [lower, larger] = descend(fine, above, kept)
  const key = upper * 2 ** 16 + lower
  let left = kept - larger
  let cut = 0
  for (; left > 0; cut++) if (keyOf(values[cut]!) === key) left--
  return [key, cut]
}

/** The bin in which the kept-th element from above lies, and how many lie in bins above it. */
function descend(bins: Uint32Array, above: number, kept: number): [bin: number, above: number] {
  let larger = above
  for (let bin = bins.length - 1; bin >= 0; bin--) {
    if (larger + bins[bin]! >= kept) return [bin, larger]
    larger += bins[bin]!
  }
  throw new Error('internal: fewer elements than should be kept')
}
