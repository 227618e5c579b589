/** The update of an adapter, and kernels that take operands of two dtypes, against the reference. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { FloatDtype, OutputDtype } from '../../src/core/dtypes.js'
import { CHUNK, type Compute, GROUP_ROWS, type MapKernel, PANEL_BYTES } from '../../src/kernels/index.js'
import { addProduct, decode, encode } from '../reference/kernels.js'
import { bytesAt, context, generator, kernels, pack, put, randomValues, unpack } from './backends.js'

const DTYPES = [
  ['F32', 'f32'],
  ['BF16', 'f32'],
  ['F16', 'f32'],
  ['F64', 'f64'],
] as const satisfies readonly (readonly [OutputDtype, Compute])[]

/** Rows of the left factor, or columns of the right one, side by side in lanes. */
function packed(values: Float64Array, rank: number, count: number, lanes: number, compute: Compute): Uint8Array {
  const out = new Float64Array(Math.ceil(count / lanes) * lanes * rank).fill(Number.NaN)
  for (let at = 0; at < count; at++)
    for (let k = 0; k < rank; k++) out[(at - (at % lanes)) * rank + k * lanes + (at % lanes)] = values[at * rank + k]!
  return pack(compute, out)
}

for (const [dtype, compute] of DTYPES)
  test(`addProduct from ${dtype}: the reference's bits in all ranges of rows and columns, nothing else touched`, () => {
    const next = generator(7)
    const size = compute === 'f32' ? 4 : 8
    const cases = [
      ...[1, 2, 3, 4, 5, 8, 11].flatMap((rows) => [1, 7, 8, 9, 31, 32, 33, 70].map((columns) => [rows, columns])),
    ] as [number, number][]
    for (const [rows, columns] of cases) {
      const rank = 1 + (next() % 17)
      const from = next() % 3 === 0 ? next() % columns : 0
      const to = next() % 3 === 0 ? from + 1 + (next() % (columns - from)) : columns
      const scale = [1, 0.3, -2, 0][next() % 4]!
      const all = decode(dtype, compute, encode(dtype, randomValues(rows, rows * columns, dtype)))
      all.set([-0, Number.NaN].slice(0, Math.min(2, columns)))
      const [left, right] = [randomValues(rank, rows * rank), randomValues(rank + 1, columns * rank)]
      // A row without an update keeps its bits.
      if (rows > 1) left.fill(0, rank, 2 * rank)
      const room = new Uint8Array(rows * columns * size).fill(0xa5)
      const [x, out, l, r] = put(
        next() % 2,
        encode(dtype, all),
        room,
        packed(left, rank, rows, GROUP_ROWS, compute),
        packed(right, rank, columns, PANEL_BYTES / size, compute),
      ) as [number, number, number, number]
      const stored = encode(dtype, all).length / all.length
      kernels.addProduct(dtype, compute)!(
        x + from * stored,
        out + from * size,
        columns,
        rows,
        from,
        to,
        l,
        r,
        rank,
        scale,
      )
      const got = bytesAt(out, room.length)
      const values = unpack(compute, got)
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < columns; j++) {
          const at = i * columns + j
          if (j < from || j >= to) {
            assert.equal([...got.subarray(at * size, (at + 1) * size)], Array(size).fill(0xa5))
            continue
          }
          const expected = addProduct(
            compute,
            all[at]!,
            left.subarray(i * rank, (i + 1) * rank),
            right.subarray(j * rank, (j + 1) * rank),
            scale,
          )
          if (!Object.is(values[at], expected))
            assert.unreachable(
              `${rows}×${columns} from ${from} to ${to}, rank ${rank}: [${i}, ${j}] ${values[at]} for ${expected}`,
            )
        }
    }
  })

const NAMES: readonly MapKernel[] = ['linear', 'task']

for (const dtype of ['BF16', 'F16'] as const)
  for (const name of NAMES)
    test(`${name} mixed with ${dtype}: the bits of decode, kernel and encode, whichever operands are in float32`, () => {
      const kernel = kernels.mixed(name, dtype, 'f32')!
      for (const inputs of [0, 1, 2, 3])
        for (const n of [0, 1, 7, 8, 9, 200, CHUNK + 1])
          for (let wide = 0; wide < 2 ** (inputs + 1); wide++) {
            const values = Array.from({ length: inputs + 1 }, (_, i) => {
              const made = randomValues(i + 1, n, dtype)
              if (n > 100 && wide % 3 === 0) made[17] = Number.NaN
              return made
            })
            const isWide = (i: number) => (wide >> i) % 2 === 1
            const operand = (v: Float64Array, i: number) => (isWide(i) ? pack('f32', v) : encode(dtype, v))
            const [out, sum, ...places] = put(
              wide % 2,
              new Uint8Array(2 * n),
              new Uint8Array(4 * n),
              ...values.map(operand),
              ...values.map((v) => pack('f32', v)),
            ) as [number, number, ...number[]]
            context.setCoefficients([0.3, -0.7, 1 / 3].slice(0, inputs))
            const bits = Array.from({ length: inputs }, (_, i) => (isWide(i) ? 2 ** i : 0)).reduce((a, b) => a + b, 0)
            context.bind({
              inputs: places.slice(0, inputs),
              base: places[inputs]!,
              output: out,
              wide: bits + (isWide(inputs) ? 2 ** 31 : 0),
            })
            kernel(context.address, n)
            const got = bytesAt(out, 2 * n)
            const plain = places.slice(inputs + 1)
            context.bind({ inputs: plain.slice(0, inputs), base: plain[inputs]!, output: sum })
            kernels.map(name, 'f32')(context.address, n)
            kernels.encode('f32', dtype)(sum, out, n)
            assert.equal(got, bytesAt(out, 2 * n), `${inputs} inputs, ${n} elements, wide ${wide}`)
          }
    })

test('lookups return undefined if there is no kernel', () => {
  assert.is(kernels.addProduct('F8_E4M3' satisfies FloatDtype, 'f32'), undefined)
  assert.is(kernels.addProduct('BF16', 'f64'), undefined)
  assert.is(kernels.mixed('linear', 'BF16', 'f64'), undefined)
  assert.is(kernels.mixed('median', 'BF16', 'f32'), undefined)
})

test.run()
