/** A thread's own memory for approximations: the rows under way and the products of one token. */
import { WebAssembly } from '../../core/webassembly.js'
import { denseModule } from '../dense/team.js'
import type { Dictionary } from './types.js'

interface Exports {
  dataEnd(): number
  addScaled(a: number, g: number, c: number, blocks: number, peaks: number): void
  addRow(y: number, x: number, c: number, n: number): void
  rowDot(x: number, y: number, n: number): number
  dot(x: number, y: number, n: number): number
}

/** Numbers in a block: its largest magnitude is known. */
export const BLOCK = 64

export interface Space {
  readonly kernels: Exports
  readonly count: number
  readonly width: number
  readonly blocks: number
  /** Products of the token's residual with all rows, and the largest magnitude of each block. */
  readonly products: Float32Array
  readonly productsAt: number
  readonly peaks: Float32Array
  readonly peaksAt: number
  /** Of each chosen row: its products with all rows, and itself. */
  readonly gramAt: (place: number) => number
  readonly gramRow: (place: number) => Float32Array
  readonly rowAt: (place: number) => number
  /** Puts a row of a matrix at a place. */
  readonly load: (dictionary: Dictionary, atom: number, place: number) => void
  /** Puts the row at a place, in float64, where the residual is. */
  readonly widen: (place: number) => void
  /** The token's row, and its residual, in float64. */
  readonly target: Float64Array
  readonly targetAt: number
  readonly residual: Float64Array
  readonly residualAt: number
}

const PAGE = 65536
const aligned = (bytes: number): number => Math.ceil(bytes / 64) * 64

/** Keeps one memory, which grows. */
export function spaces(): (count: number, width: number, k: number, withGram: boolean) => Space {
  const memory = new WebAssembly.Memory({ initial: 4, maximum: 65536, shared: true })
  const kernels = new WebAssembly.Instance(denseModule(), { env: { memory } }).exports as unknown as Exports
  return (count, width, k, withGram) => {
    let end = aligned(kernels.dataEnd())
    const take = (bytes: number): number => {
      const at = end
      end += aligned(bytes)
      return at
    }
    const blocks = Math.ceil(count / BLOCK)
    const padded = blocks * BLOCK
    const productsAt = take(4 * padded)
    const peaksAt = take(4 * blocks)
    const targetAt = take(8 * width)
    const residualAt = take(8 * width)
    const [gramBytes, rowBytes] = [aligned(4 * padded), aligned(4 * width)]
    // One row more than are chosen: for a row that is only looked at.
    const grams = take(withGram ? (k + 1) * gramBytes : 0)
    const rows = take((k + 1) * rowBytes)
    const missing = end - memory.buffer.byteLength
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE))
    const { buffer } = memory
    const gramAt = (place: number): number => grams + place * gramBytes
    const rowAt = (place: number): number => rows + place * rowBytes
    const residual = new Float64Array(buffer, residualAt, width)
    return {
      ...{ kernels, count, width, blocks, productsAt, peaksAt, targetAt, residual, residualAt, gramAt, rowAt },
      products: new Float32Array(buffer, productsAt, padded),
      peaks: new Float32Array(buffer, peaksAt, blocks),
      target: new Float64Array(buffer, targetAt, width),
      gramRow: (place) => new Float32Array(buffer, gramAt(place), padded),
      load: ({ rows }, atom, place) =>
        new Float32Array(buffer, rowAt(place), width).set(rows.subarray(atom * width, (atom + 1) * width)),
      widen(place) {
        residual.fill(0)
        kernels.addRow(residualAt, rowAt(place), 1, width)
      },
    }
  }
}
