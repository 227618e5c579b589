import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { WebAssembly } from '../../src/core/webassembly.js'
import {
  ARENA_START,
  CONTEXT_BYTES,
  compileKernels,
  contextBytes,
  createContext,
  instantiateKernels,
} from '../../src/kernels/index.js'
import { kernels } from './backends.js'

test('one compiled module serves many instances, each on its own memory', async () => {
  assert.is(await compileKernels(), await compileKernels())
  const memory = new WebAssembly.Memory({ initial: 2 })
  const other = instantiateKernels(await compileKernels(), memory)
  new Uint16Array(memory.buffer, ARENA_START, 2).set([0x3f80, 0xc000])
  other.decode('BF16', 'f32')(ARENA_START, ARENA_START + 64, 2)
  assert.equal([...new Float32Array(memory.buffer, ARENA_START + 64, 2)], [1, -2])
})

test('an unknown kernel is an internal error', () => {
  assert.throws(() => kernels.map('nonesuch' as 'linear', 'f32'), /internal: no kernel nonesuch_f32/)
})

test('a context has the memory layout of the binary interface', () => {
  const memory = new WebAssembly.Memory({ initial: 2 })
  const size = { inputs: 3, coefficients: 2, sums: 1 }
  const context = createContext(memory, ARENA_START, size)
  context.bind({ inputs: [1000, 2000, 3000], base: 4000, output: 5000, first: 2 ** 40 + 1 })
  context.setCoefficients([0.5, -1])
  const view = new DataView(memory.buffer)
  const u32 = (at: number): number => view.getUint32(at, true)
  assert.is(contextBytes(size), CONTEXT_BYTES + 16 + 16 + 8)
  assert.is(u32(ARENA_START), 3)
  assert.equal(
    [0, 4, 8].map((i) => u32(u32(ARENA_START + 4) + i)),
    [1000, 2000, 3000],
  )
  assert.is(u32(ARENA_START + 8), 4000)
  assert.is(u32(ARENA_START + 12), 5000)
  assert.equal(
    [0, 8].map((i) => view.getFloat64(u32(ARENA_START + 16) + i, true)),
    [0.5, -1],
  )
  view.setFloat64(u32(ARENA_START + 20), 7, true)
  assert.equal([...context.readSums()], [7])
  context.clearSums()
  assert.equal([...context.readSums()], [0])
  assert.is(view.getBigUint64(ARENA_START + 24, true), 2n ** 40n + 1n)
  assert.throws(() => context.bind({ inputs: [1, 2, 3, 4] }), /internal: 4 inputs for 3 places/)
})

test('scalar functions are accurate to one unit in the last place, with fixed bits', () => {
  const { sin, cos, acos, exp, log, pow } = kernels.math
  const near = (a: number, b: number): void => assert.ok(Math.abs(a - b) <= Math.abs(b) * 2 ** -51, `${a} for ${b}`)
  for (let x = -3; x <= 3; x += 0.37) {
    near(sin(x), Math.sin(x))
    near(cos(x), Math.cos(x))
    near(exp(x), Math.exp(x))
    near(pow(1.7, x), 1.7 ** x)
    near(acos(x / 4), Math.acos(x / 4))
    near(log(x + 4), Math.log(x + 4))
  }
  assert.equal([sin(0), cos(0), acos(1), exp(0), log(1), pow(2, 10)], [0, 1, 0, 1, 0, 1024])
  assert.ok(Number.isNaN(acos(1.1)) && Number.isNaN(log(-1)))
})

test.run()
