import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { WebAssembly } from '../../src/core/webassembly.js'
import {
  ARENA_START,
  CHUNK,
  type Compute,
  compileKernels,
  contextBytes,
  createContext,
  instantiateKernels,
} from '../../src/kernels/index.js'
import { linear, rounding, sum, type Tensor, task } from './numeric.js'
import { fineTunes } from './samples.js'

const memory = new WebAssembly.Memory({ initial: 64 })
const kernels = instantiateKernels(await compileKernels(), memory)
const size = { inputs: 3, coefficients: 3, sums: 3 }
const context = createContext(memory, ARENA_START, size)
const dataStart = ARENA_START + contextBytes(size)
const N = 2 * CHUNK + 1003

/** The tensors one after another in the kernels' memory. */
function placed(tensors: readonly Tensor[], compute: Compute): { views: Tensor[]; addresses: number[] } {
  const bytes = compute === 'f32' ? 4 : 8
  const addresses = tensors.map((_, i) => dataStart + i * Math.ceil((N * bytes) / 16) * 16)
  const views = tensors.map((tensor, i) => {
    const view =
      compute === 'f32'
        ? new Float32Array(memory.buffer, addresses[i], N)
        : new Float64Array(memory.buffer, addresses[i], N)
    view.set(tensor)
    return view
  })
  return { views, addresses }
}

for (const compute of ['f32', 'f64'] as const) {
  const given = fineTunes([N], 3, compute === 'f32' ? 'float32' : 'float64')
  const bytes = compute === 'f32' ? 4 : 8
  const coefficients = [0.3, -0.7, 1.1]

  test(`sums in ${compute} are the dots kernel's, bit for bit`, () => {
    const { addresses } = placed(given.inputs, compute)
    context.clearSums()
    for (let at = 0; at < N; at += CHUNK) {
      context.bind({ inputs: addresses.slice(0, 2).map((address) => address + at * bytes) })
      kernels.reduce('dots', compute)(context.address, Math.min(CHUNK, N - at))
    }
    const [a, c] = given.inputs as [Tensor, Tensor]
    const expected = [a, c, a].map((x, which) => sum(N, (i) => x[i]! * (which === 0 ? a : c)[i]!))
    assert.equal([...context.readSums()], expected)
  })

  for (const [kernel, rule] of [
    ['linear', linear],
    ['task', task],
  ] as const)
    test(`${kernel} in ${compute} is the kernel's, bit for bit`, () => {
      const { views, addresses } = placed([given.base!, new Float64Array(N), ...given.inputs], compute)
      const [base, output, ...inputs] = addresses as [number, number, ...number[]]
      context.bind({ inputs, base, output })
      context.setCoefficients(coefficients)
      kernels.map(kernel, compute)(context.address, N)
      const round = rounding(given.compute)
      assert.ok(rule(given, coefficients).every((x, i) => Object.is(round(x), views[1]![i])))
    })
}

test.run()
