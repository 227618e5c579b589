/** Noise: the numbers are those of the generator, and are distributed as they should be. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { philox, type RandomStream, randomStream } from '../../src/core/random.js'
import { WebAssembly } from '../../src/core/webassembly.js'
import {
  ARENA_START,
  compileKernels,
  contextBytes,
  createContext,
  instantiateKernels,
} from '../../src/kernels/index.js'

const memory = new WebAssembly.Memory({ initial: 64 })
const kernels = instantiateKernels(await compileKernels(), memory)
const size = { inputs: 1, coefficients: 1, sums: 1 }
const context = createContext(memory, ARENA_START, size)

interface Block {
  readonly stream: RandomStream
  readonly noise: number
  readonly scale: number
}

function noised(
  x: Float64Array,
  first: number,
  length: number,
  uniform: boolean,
  blocks: readonly Block[],
): Float64Array {
  const at = (place: number) => Math.ceil((ARENA_START + contextBytes(size)) / 64) * 64 + place * 2 ** 20
  new Float64Array(memory.buffer, at(0), x.length).set(x)
  const table = [length, uniform ? 1 : 0, ...blocks.flatMap(({ stream, noise, scale }) => [...stream, noise, scale])]
  new Float64Array(memory.buffer, at(2), table.length).set(table)
  context.bind({ inputs: [at(0)], output: at(1), table: at(2), scratch: at(3), first, rowLength: 0 })
  kernels.map('noised', 'f64')(context.address, x.length)
  return new Float64Array(memory.buffer, at(1), x.length).slice()
}

/** The definition, element by element. */
function expected(stream: RandomStream, index: number, uniform: boolean): number {
  const [key0, key1, c2, c3] = stream
  const words = philox([Math.floor(index / 2), 0, c2, c3], [key0, key1])
  const share = (at: number) => ((words[at]! >>> 5) * 2 ** 26 + (words[at + 1]! >>> 6) + 0.5) * 2 ** -53
  if (uniform) return 2 * share(index % 2 === 0 ? 0 : 2) - 1
  const angle = 2 * Math.PI * share(2)
  return Math.sqrt(-2 * Math.log(share(0))) * (index % 2 === 0 ? Math.cos(angle) : Math.sin(angle))
}

const block = (who: string, noise: number, scale: number): Block => ({
  stream: randomStream(3, who, 't'),
  noise,
  scale,
})

test('each element has its own number, wherever a call begins and a block ends', () => {
  const blocks = [block('a', 0.5, 1), block('b', 2, -0.25), block('c', 0, 3)]
  for (const uniform of [false, true])
    for (const [first, n, length] of [
      [0, 900, 300],
      [1, 299, 300],
      [299, 5, 300],
      [7, 1000, 401],
      [3, 1, 1001],
    ] as const) {
      const x = Float64Array.from({ length: n }, (_, i) => i / 8)
      const found = noised(x, first, length, uniform, blocks)
      for (let i = 0; i < n; i++) {
        const at = first + i
        const { stream, noise, scale } = blocks[Math.floor(at / length)]!
        const wanted = (x[i]! + noise * expected(stream, at % length, uniform)) * scale
        assert.ok(
          Math.abs(found[i]! - wanted) < 1e-13 * Math.max(1, Math.abs(wanted)),
          `${at}: ${found[i]}, not ${wanted}`,
        )
      }
    }
})

test('numbers are normal, or uniform, and independent of their neighbours and of other streams', () => {
  const n = 100_000
  const draw = (who: string, uniform: boolean) => noised(new Float64Array(n), 0, n, uniform, [block(who, 1, 1)])
  const mean = (values: Float64Array, of: (value: number, i: number) => number) =>
    values.reduce((sum, value, i) => sum + of(value, i), 0) / n
  const [normal, other, flat] = [draw('a', false), draw('b', false), draw('a', true)]
  const near = (found: number, wanted: number, within: number, what: string) =>
    assert.ok(Math.abs(found - wanted) < within, `${what}: ${found}`)
  // Five standard deviations of each estimate.
  const sigma = 5 / Math.sqrt(n)
  near(
    mean(normal, (x) => x),
    0,
    sigma,
    'mean',
  )
  near(
    mean(normal, (x) => x * x),
    1,
    sigma * Math.SQRT2,
    'variance',
  )
  near(
    mean(normal, (x) => x ** 3),
    0,
    sigma * Math.sqrt(15),
    'skewness',
  )
  near(
    mean(normal, (x) => x ** 4),
    3,
    sigma * Math.sqrt(96),
    'kurtosis',
  )
  near(
    mean(normal, (x) => (Math.abs(x) < 1 ? 1 : 0)),
    0.6826895,
    sigma * 0.47,
    'within one deviation',
  )
  near(
    mean(normal, (x) => (Math.abs(x) > 3 ? 1 : 0)),
    0.0026998,
    sigma * 0.052,
    'beyond three deviations',
  )
  near(
    mean(normal, (x, i) => x * normal[(i + 1) % n]!),
    0,
    sigma,
    'neighbours',
  )
  near(
    mean(normal, (x, i) => x * other[i]!),
    0,
    sigma,
    'streams',
  )
  near(
    mean(flat, (x) => x),
    0,
    sigma / Math.sqrt(3),
    'mean of uniform',
  )
  near(
    mean(flat, (x) => x * x),
    1 / 3,
    sigma * Math.sqrt(4 / 45),
    'variance of uniform',
  )
  assert.ok(flat.every((x) => x > -1 && x < 1))
})

test.run()
