/** What is approximated, and what is found. */
import { sharedDoubles, sharedInts } from '../../core/collections/sharedArrays.js'
import type { AnalysisTensor } from '../../expr/types.js'
import type { PursuitMethod } from '../../kernels/pursuit/index.js'

export interface Wanted {
  readonly tensor: AnalysisTensor
  /** Rows that are combined, ascending. */
  readonly shared: Int32Array
  /** Rows to approximate. */
  readonly made: Int32Array
  readonly k: number
  /** Tells it apart from others of the same analysis. */
  readonly part: number
  readonly method: PursuitMethod
  readonly tell: (text: string, share: number) => void
}

export interface Approximated {
  /** By row, k places each: indices into `shared`, and -1 for places that are not used. */
  readonly atoms: Int32Array
  readonly weights: Float64Array
  readonly residuals: Float64Array
}

/** Room for what is found of so many rows, with at most `k` places each. */
export const roomFor = (rows: number, k: number): Approximated => ({
  atoms: sharedInts(rows * k),
  weights: sharedDoubles(rows * k),
  residuals: sharedDoubles(rows),
})
