/** The fast copy of strided elements against the slow one. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { copyStrided, stridedSpan } from '../../src/views/strided.js'
import { generator } from '../checkpoints/pytorchFiles.js'
import { gatherStrided, stridedOffset } from './stridedReference.js'

/** Elements that differ from each other in every byte. */
function storage(elements: number, width: number, shift = 0): Uint8Array {
  const random = generator(elements)
  return new Uint8Array(elements * width + shift).map(() => random() & 255).subarray(shift)
}
const product = (shape: readonly number[]): number => shape.reduce((total, size) => total * size, 1)

/** All of it, then windows of it from no more of the source than they need. */
function check(
  shape: readonly number[],
  strides: readonly number[],
  width: number,
  shift: number,
  random: () => number,
): void {
  const count = product(shape)
  const [, span] = count > 0 ? stridedSpan(shape, strides, 0, count) : [0, 0]
  const src = storage(span, width, shift)
  const expected = gatherStrided(src, width, shape, strides)
  const what = `${shape} by ${strides}, ${width} bytes`
  const whole = new Uint8Array(count * width + shift).subarray(shift)
  copyStrided(src, width, shape, strides, 0, count, whole)
  assert.equal(whole, expected, what)
  for (let round = 0; round < 6 && count > 0; round++) {
    const first = random() % count
    const length = 1 + (random() % (count - first))
    const [from, to] = stridedSpan(shape, strides, first, length)
    const out = new Uint8Array(length * width + 3).fill(7)
    copyStrided(
      src.slice(from * width, to * width),
      width,
      shape,
      strides,
      first,
      length,
      out.subarray(0, length * width),
      from,
    )
    assert.equal(
      out.subarray(0, length * width),
      expected.subarray(first * width, (first + length) * width),
      `${what}: ${length} from ${first}`,
    )
    assert.equal([...out.subarray(length * width)], [7, 7, 7], 'nothing behind them')
  }
}

test('transposed, sliced, expanded, permuted, scalar and empty tensors', () => {
  const random = generator(1)
  const cases: [number[], number[]][] = [
    [[30, 40], [1, 30]],
    [[100, 3], [1, 100]],
    [[20, 10], [60, 3]],
    [[3, 4], [0, 1]],
    [[4, 3], [1, 0]],
    [[2, 3, 4], [1, 12, 4]],
    [[5, 64], [128, 1]],
    [[], []],
    [[1, 1], [9, 9]],
    [[0, 5], [5, 1]],
    [[7, 5], [2, 2]],
  ] // biome-ignore format: a case a line
  for (const width of [1, 2, 4, 8])
    for (const shift of [0, 1]) for (const [shape, strides] of cases) check(shape, strides, width, shift, random)
})

test('any shape with any strides', () => {
  const random = generator(2)
  for (let round = 0; round < 600; round++) {
    const shape = Array.from({ length: random() % 5 }, () => 1 + (random() % 7))
    const strides = shape.map(() => random() % 12)
    check(shape, strides, 2 ** (random() % 4), random() % 3, random)
  }
})

test('a span is no larger than the rows that a window touches', () => {
  assert.equal(stridedSpan([10, 6], [8, 1], 12, 6), [16, 22])
  assert.equal(stridedSpan([10, 6], [8, 1], 14, 2), [18, 20])
  assert.equal(stridedSpan([10, 6], [8, 1], 14, 8), [16, 30])
  assert.equal(stridedSpan([3], [0], 1, 2), [0, 1])
  assert.is(stridedOffset([2, 3, 4], [1, 12, 4], 23), 1 + 24 + 12)
})

test.run()
