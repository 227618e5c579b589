/** A thread's own memory for approximations: the rows under way. */
import { aligned } from '../../core/webassembly.js'
import type { DenseKernels, Memory } from './memory.js'
import type { Dictionary } from './types.js'

export interface Space {
  readonly kernels: DenseKernels
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
  /** The same in float32, and room for as many coefficients as rows. */
  readonly roughAt: number
  readonly rough: Float32Array
  readonly coefficientsAt: number
  readonly coefficients: Float32Array
  /** Bytes from a row to the next. */
  readonly step: number
}

/** Lays out a memory for the rows of a token, and for more. A row more than are chosen has room: for one that is only looked at. */
export function spaceOn(
  memory: Memory,
  width: number,
  k: number,
  more: readonly number[] = [],
): { readonly space: Space; readonly at: readonly number[]; readonly buffer: ArrayBufferLike } {
  // Not all at the same places of caches.
  const step = aligned(4 * width) + 64
  const { at, buffer } = memory.layOut([8 * width, 8 * width, 2 * width, (k + 1) * step, 4 * width, 4 * k, ...more])
  const [targetAt, residualAt, halvesAt, rows, roughAt, coefficientsAt] = at as [
    ...[number, number, number],
    ...[number, number, number],
  ]
  const { kernels } = memory
  const rowAt = (place: number): number => rows + place * step
  const residual = new Float64Array(buffer, residualAt, width)
  const halves = new Uint16Array(buffer, halvesAt, width)
  const space: Space = {
    ...{ kernels, rowAt, step, targetAt, residual, residualAt, roughAt, coefficientsAt },
    rough: new Float32Array(buffer, roughAt, width),
    coefficients: new Float32Array(buffer, coefficientsAt, k),
    target: new Float64Array(buffer, targetAt, width),
    load({ rows }, atom, place) {
      const [from, to] = [atom * width, (atom + 1) * width]
      if (rows instanceof Float32Array) {
        new Float32Array(buffer, rowAt(place), width).set(rows.subarray(from, to))
        return
      }
      halves.set(rows.subarray(from, to))
      kernels.widenHalves(halvesAt, rowAt(place), width)
    },
    widen(place) {
      residual.fill(0)
      kernels.addRow(residualAt, rowAt(place), 1, width)
    },
  }
  return { space, at: at.slice(6), buffer }
}
