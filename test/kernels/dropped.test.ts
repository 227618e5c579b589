import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { randomStream } from '../../src/core/random.js'
import { WebAssembly } from '../../src/core/webassembly.js'
import {
  ARENA_START,
  compileKernels,
  contextBytes,
  createContext,
  instantiateKernels,
  type MapKernel,
} from '../../src/kernels/index.js'
import { rankBytes } from '../../src/kernels/types.js'
import { magnitudeKey } from '../reference/numeric.js'
import { uniform } from '../reference/random.js'

const memory = new WebAssembly.Memory({ initial: 64 })
const kernels = instantiateKernels(await compileKernels(), memory)
const size = { inputs: 1, coefficients: 16, sums: 1 }
const context = createContext(memory, ARENA_START, size)
const stream = randomStream(3, 'a', 't')

/** One model's thinned difference from a base of 0; `entry`: what follows the stream. */
function thinned(name: MapKernel, x: Float32Array, first: number, entry: readonly number[], byRank?: Float32Array) {
  const at = (place: number) => Math.ceil((ARENA_START + contextBytes(size)) / 64) * 64 + place * 2 ** 18
  new Float32Array(memory.buffer, at(0), x.length).set(x)
  new Float32Array(memory.buffer, at(1), x.length).fill(0)
  if (byRank) new Float32Array(memory.buffer, at(3), byRank.length).set(byRank)
  context.setCoefficients([1, 0, 0, 0, 1, 1, ...stream, ...entry])
  const places = { inputs: [at(0)], base: at(1), output: at(2), table: at(3), scratch: at(4) }
  context.bind({ ...places, first, rowLength: x.length })
  kernels.map(name, 'f32')(context.address, x.length)
  return new Float32Array(memory.buffer, at(2), x.length).slice()
}

test('random numbers go on beyond the 2^32nd block of four elements', () => {
  for (const first of [0, 5, 2 ** 34 - 100, 2 ** 34 - 99, 2 ** 35 - 1]) {
    const found = thinned('dropped_sum', new Float32Array(300).fill(1), first, [0.5])
    const expected = Array.from({ length: 300 }, (_, i) => (uniform(stream, first + i) < 0.5 ? 1 : 0))
    assert.equal([...found], expected, `from ${first}`)
  }
})

/** Differences with few bits, with many, with some equal and some 0. */
const ROWS: Readonly<Record<string, (i: number, n: number) => number>> = {
  zeros: () => 0,
  equal: () => -0.25,
  'few bits': (i) => ((i * 37) % 11) / 64 - 5 / 64,
  'one digit': (i) => Math.fround(1 + ((i * 31) % 64) / 64) * (i % 3 === 0 ? -1 : 1),
  'two digits': (i) => (((i * 7919) % 255) - 127) * 2 ** -((i * 13) % 9),
  'many bits': (i) => Math.fround(Math.sin(i) * 10 ** ((i % 7) - 3)),
  'not finite': (i) => [1, Number.NaN, Number.POSITIVE_INFINITY, -2, 0][i % 5]!,
}

for (const n of [2, 47, 50, 1023, 2048])
  test(`ranks by magnitude decide what is kept: rows of ${n}`, () => {
    assert.ok(rankBytes(n) + n * 4 + 64 < 2 ** 18)
    const byRank = Float32Array.from({ length: n }, (_, rank) => 0.2 + (0.6 * rank) / (n - 1))
    for (const [name, made] of Object.entries(ROWS)) {
      const x = Float32Array.from({ length: n }, (_, i) => made(i, n))
      const keys = [...x].map(magnitudeKey)
      // Of equal ones the higher index ranks lower.
      const order = [...keys.keys()].sort((a, b) => keys[a]! - keys[b]! || b - a)
      const expected = new Float32Array(n)
      for (const [rank, i] of order.entries())
        if (uniform(stream, 8 + i) < byRank[rank]!) expected[i] = Math.fround(x[i]! / byRank[rank]!)
      const found = thinned('ranked_sum', x, 8, [0, 1, 0], byRank)
      for (const [i, value] of found.entries())
        assert.ok(Object.is(value + 0, expected[i]! + 0), `${name}: element ${i} is ${value} for ${expected[i]}`)
    }
  })

test.run()
