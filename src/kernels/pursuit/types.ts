/** Approximations of rows by few rows of a matrix. All arrays are on memory that threads share. */

/** The rows that are combined. */
export interface Dictionary {
  /** `count` × `width`. */
  readonly rows: Float32Array
  readonly count: number
  readonly width: number
  /** Squared norms. NaN for a row that is not finite: it is never chosen. */
  readonly squares: Float64Array
}

/** Inner products of all pairs of rows, in float32. */
export interface Gram {
  /** Each has so many rows of `count` numbers; the last one may have fewer. */
  readonly blocks: readonly Float32Array[]
  readonly perBlock: number
  /** By row: the largest magnitude of a product with another row. */
  readonly peaks: Float32Array
}

export type PursuitMethod = 'omp' | 'distance' | 'cosine' | 'barycentric' | 'least_squares'

/** Rows to approximate, and room for the results. */
export interface PursuitTask {
  readonly method: PursuitMethod
  readonly dictionary: Dictionary
  /** For `omp`. */
  readonly gram?: Gram
  /** The rows, `tokens` × `width`, and their products with the dictionary, `tokens` × `count`, in float32. */
  readonly targets: Float32Array
  readonly products: Float32Array
  readonly tokens: number
  /** The most rows to combine. Results have so many places per token. */
  readonly k: number
  /** Chosen rows; -1 for places that are not used, which come last. */
  readonly atoms: Int32Array
  readonly weights: Float64Array
  /** What is left, relative to the norm of the row. 0 for a row of zeros. */
  readonly residuals: Float64Array
  /** Counts the tokens that threads took. */
  readonly next: Int32Array
}
