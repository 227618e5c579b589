import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { philox, randomStream } from '../../src/core/random.js'
import { uniform } from '../reference/random.js'

const hex = (words: readonly number[]) => words.map((word) => word.toString(16).padStart(8, '0')).join(' ')

test('philox4x32-10 reproduces the known answers of its authors', () => {
  assert.is(hex(philox([0, 0, 0, 0], [0, 0])), '6627e8d5 e169c58d bc57ac4c 9b00dbd8')
  const ones = 0xffffffff
  assert.is(hex(philox([ones, ones, ones, ones], [ones, ones])), '408f276d 41c83b0e a20bc7c6 6d5451fd')
  assert.is(
    hex(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])),
    'd16cfe09 94fdcceb 5001e420 24126ea1',
  )
})

test('the stream of (seed, model, tensor) and its numbers are part of the format', () => {
  const stream = randomStream(0, 'math', 'model.layers.0.mlp.up_proj.weight')
  assert.equal(stream, [0x40213a82, 0xc372e7ea, 0x5871e9c6, 0x2e39a63c])
  assert.equal(
    [0, 1, 2, 3, 4, 2 ** 34 + 5].map((index) => uniform(stream, index) * 2 ** 24),
    [16160735, 8966812, 10983980, 16263783, 2902356, 7477065],
  )
})

test('element i uses the upper 24 bits of word i mod 4 of block i / 4', () => {
  const stream = randomStream(7, 'a', 't')
  for (const index of [0, 3, 4, 4098, 2 ** 34 + 2, 2 ** 40 + 1]) {
    const block = Math.floor(index / 4)
    const words = philox([block % 2 ** 32, Math.floor(block / 2 ** 32), stream[2], stream[3]], [stream[0], stream[1]])
    assert.is(uniform(stream, index), Math.floor(words[index % 4]! / 256) / 2 ** 24)
  }
})

test('seed, model and tensor each change the stream, even if their concatenation is equal', () => {
  const streams = [
    randomStream(0, 'a', 'b'),
    randomStream(1, 'a', 'b'),
    randomStream(0, 'ab', ''),
    randomStream(0, '', 'ab'),
    randomStream(0, 'a","b', ''),
    randomStream(-1, 'a', 'b'),
  ]
  assert.is(new Set(streams.map(hex)).size, streams.length)
  assert.throws(() => randomStream(0.5, 'a', 'b'), /internal/)
})

test('the numbers are uniform: mean, variance and neighbours', () => {
  const stream = randomStream(3, 'model', 'tensor')
  const n = 40_000
  const numbers = Array.from({ length: n }, (_, index) => uniform(stream, index))
  assert.ok(numbers.every((x) => x >= 0 && x < 1 && Math.fround(x) === x))
  const mean = numbers.reduce((sum, x) => sum + x, 0) / n
  const variance = numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / n
  const neighbours = numbers.slice(1).reduce((sum, x, i) => sum + (x - mean) * (numbers[i]! - mean), 0) / n
  assert.ok(Math.abs(mean - 0.5) < 4 * Math.sqrt(1 / 12 / n))
  assert.ok(Math.abs(variance - 1 / 12) < 4 * Math.sqrt(1 / 180 / n))
  assert.ok(Math.abs(neighbours) < 4 / 12 / Math.sqrt(n))
})

test.run()
