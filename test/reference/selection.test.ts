import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { byMagnitude, magnitudeKey } from './numeric.js'
import { bell } from './samples.js'

/**
 * The streaming selection of docs/method-passes.md on small tiles, as the executor is to do it: two histograms, then the
 * equal ones by a prefix over the tiles.
 */
function selected(values: Float32Array, k: number, tile: number): boolean[] {
  const tiles = Array.from({ length: Math.ceil(values.length / tile) }, (_, t) =>
    values.subarray(t * tile, (t + 1) * tile),
  )
  const coarse = new Float64Array(2 ** 15)
  for (const part of tiles) for (const x of part) coarse[magnitudeKey(x) >>> 16]!++
  const [bucket, above] = descend(coarse, 0, k)
  const fine = new Float64Array(2 ** 16)
  for (const part of tiles)
    for (const x of part) if (magnitudeKey(x) >>> 16 === bucket) fine[magnitudeKey(x) & 0xffff]!++
  const [low, larger] = descend(fine, above, k)
  const key = bucket * 2 ** 16 + low
  let allowed = k - larger
  return tiles.flatMap((part) => {
    const equals = part.filter((x) => magnitudeKey(x) === key).length
    let left = Math.min(allowed, equals)
    allowed -= left
    return Array.from(part, (x) => magnitudeKey(x) > key || (magnitudeKey(x) === key && left-- > 0))
  })
}

/** The bin that holds the k-th largest, and how many are larger than all of that bin. */
function descend(bins: Float64Array, above: number, k: number): [number, number] {
  for (let bin = bins.length - 1, larger = above; bin >= 0; bin--) {
    if (larger + bins[bin]! >= k) return [bin, larger]
    larger += bins[bin]!
  }
  throw new Error('internal: fewer than k elements')
}

test('two histograms and a prefix over tiles select what a stable sort selects', () => {
  for (const [name, values] of [
    ['generic', bell('generic', 700)],
    ['many equal', bell('equal', 700).map((x) => Math.round(4 * x) / 4)],
    ['all equal', new Float32Array(700).fill(-0.5)],
    ['zeros, infinities, NaN', bell('odd', 700).map((x, i) => [x, 0, -0, Infinity, NaN, 1e-45, -1e-45][i % 7]!)],
  ] as const)
    for (const k of [1, 2, 99, 350, 699, 700]) {
      const expected = new Set(byMagnitude(values).slice(0, k))
      const result = selected(values, k, 64)
      assert.ok(
        result.every((kept, i) => kept === expected.has(i)),
        `${name}, k ${k}`,
      )
    }
})

test.run()
