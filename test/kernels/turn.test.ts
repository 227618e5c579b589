/** Kernels that turn matrices, against one element after the other. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { WebAssembly } from '../../src/core/webassembly.js'
import { ARENA_START, compileKernels, instantiateKernels } from '../../src/kernels/index.js'
import { generator } from '../../src/rebasin/order.js'

const WIDTHS = [1, 2, 4, 8] as const
/** Around whole squares, and more columns than are done at once. */
const SIZES = [1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 131]
const UNTOUCHED = 0x77

const memory = new WebAssembly.Memory({ initial: 32 })
const { turn } = instantiateKernels(await compileKernels(), memory)
const all = new Uint8Array(memory.buffer)
/** Not a multiple of any element. */
const [SOURCE, TARGET] = [ARENA_START + 3, ARENA_START + 2 ** 20 + 5]

interface Matrix {
  readonly width: number
  readonly rows: number
  readonly columns: number
  /** Bytes from one row to the next, from one element to the next, and from one row of the result to the next. */
  readonly line: number
  readonly step: number
  readonly stride: number
}

const random = generator(7)
const below = (n: number): number => Math.floor(random() * n)

/** Calls a kernel and compares every byte of the result, and those between and around its rows. */
function check({ width, rows, columns, line, step, stride }: Matrix, run: () => void): void {
  const source = all.subarray(SOURCE, SOURCE + (rows - 1) * line + (columns - 1) * step + width)
  for (let i = 0; i < source.length; i++) source[i] = below(256)
  const bytes = (columns - 1) * stride + rows * width
  const target = all.subarray(TARGET - 64, TARGET + bytes + 64)
  target.fill(UNTOUCHED)
  const want = target.slice()
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const from = row * line + column * step
      want.set(source.subarray(from, from + width), 64 + column * stride + row * width)
    }
  run()
  const what = `${rows} × ${columns} of ${width} bytes, ${line} and ${step} apart, to ${stride}`
  assert.is(Buffer.compare(target, want), 0, what)
}

for (const width of WIDTHS)
  test(`matrices of elements of ${width} bytes are turned, of any size and at any address`, () => {
    for (const rows of SIZES)
      for (const columns of SIZES) {
        const line = columns * width + below(3) * 5
        const stride = rows * width + below(3) * 7
        check({ width, rows, columns, line, step: width, stride }, () =>
          turn[width](SOURCE, line, rows, columns, TARGET, stride),
        )
      }
  })

test('elements that are apart in their rows are turned', () => {
  for (const width of WIDTHS)
    for (const rows of [1, 31, 33, 65])
      for (const columns of [1, 30, 64, 67]) {
        const step = width * (1 + below(3))
        const line = columns * step + below(9)
        const stride = rows * width + below(9)
        check({ width, rows, columns, line, step, stride }, () =>
          turn.apart(SOURCE, line, step, rows, columns, TARGET, stride, width),
        )
      }
})

test.run()
