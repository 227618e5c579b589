/** A thread's own memory, and the kernels that work on it. */
import { aligned, WebAssembly } from '../../core/webassembly.js'
import { denseModule } from '../dense/team.js'

/** The kernels that approximations use. Numbers are addresses, lengths and values. */
export interface DenseKernels {
  dataEnd(): number
  addRow(y: number, x: number, c: number, n: number): void
  rowDot(x: number, y: number, n: number): number
  narrowDot(x: number, y: number, n: number): number
  dot(x: number, y: number, n: number): number
  widenHalves(from: number, to: number, n: number): void
  spread(x: number, n: number, block: number, signs: number): void
  largest(x: number, n: number): number
  laneSquares(x: number, n: number, depth: number): number
  quantise(x: number, n: number, scale: number, panel: number, row: number): number
  multiplyIntegers(
    ...[a, pitchA, b, pitchB, c, m, n, depth, stride]: [
      ...[number, number, number, number, number],
      ...[number, number, number, number],
    ]
  ): void
  scaleSides(c: number, stride: number, m: number, n: number, x: number, y: number): void
  narrow(
    ...[c, stride, m, n, out, width, turned, height]: [
      ...[number, number, number, number],
      ...[number, number, number, number],
    ]
  ): void
  takeOff(
    ...[products, addresses, pairs, coefficients, unit, error, norms, blocks, peaks]: [
      ...[number, number, number, number, number],
      ...[number, number, number, number],
    ]
  ): number
  subtractRows(y: number, x: number, step: number, c: number, rows: number, n: number): void
}

/** A thread's memory. Each use lays it out again: `take` reserves bytes, and `views` may be made afterwards. */
export interface Memory {
  readonly kernels: DenseKernels
  readonly layOut: (sizes: readonly number[]) => { readonly at: readonly number[]; readonly buffer: ArrayBufferLike }
}

const PAGE = 65536

/** A memory that grows. */
export function growingMemory(): Memory {
  const memory = new WebAssembly.Memory({ initial: 4, maximum: 65536, shared: true })
  const kernels = new WebAssembly.Instance(denseModule(), { env: { memory } }).exports as unknown as DenseKernels
  return {
    kernels,
    layOut(sizes) {
      let end = aligned(kernels.dataEnd())
      const at = sizes.map((bytes) => {
        const from = end
        end += aligned(bytes)
        return from
      })
      const missing = end - memory.buffer.byteLength
      if (missing > 0) memory.grow(Math.ceil(missing / PAGE))
      return { at, buffer: memory.buffer }
    },
  }
}
