/** Approximations of rows by few rows of a matrix. All arrays are on memory that threads share. */

/** The rows that are combined. */
export interface Dictionary {
  /** `count` × `width`: float32, or the upper 16 bits of numbers whose lower ones are 0. */
  readonly rows: Float32Array | Uint16Array
  readonly count: number
  readonly width: number
  /** Squared norms. NaN for a row that is not finite: it is never chosen. */
  readonly squares: Float64Array
}

/** The same rows, nearly: integers of 16 bits, each row with its own scale, after a turn of the space that keeps inner products. */
export interface Integers {
  /** In panels of four rows: for every eight columns, eight numbers of each row. */
  readonly values: Int16Array
  /** By row: the worth of an integer, as a share of the row's norm. 0 for rows of zeros, and for rows that are not finite. */
  readonly scales: Float32Array
  /** By row: the norm of what the integers leave out, as a share of the row's norm. */
  readonly errors: Float64Array
}

/** Where cosines of all pairs of rows are: integers of 16 bits. */
export type CosineStore =
  /** Blocks have so many rows; the last one may have fewer. */
  | { readonly kind: 'memory'; readonly blocks: readonly Int16Array[]; readonly perBlock: number }
  /** An open file, which all threads of the process can use. */
  | { readonly kind: 'file'; readonly fd: number }

/** One thread's access to cosines. */
export interface Cosines {
  /** Reads a row. */
  read(row: number, into: Int16Array): void
  /** Writes a part of a row. */
  write(row: number, column: number, from: Int16Array): void
}

/** How open files are read and written, at a position in bytes. */
export interface Files {
  readonly readAt: (fd: number, into: ArrayBufferView, position: number) => void
  readonly writeAt: (fd: number, from: ArrayBufferView, position: number) => void
}

export type NearestMethod = 'distance' | 'cosine' | 'barycentric' | 'least_squares'
export type PursuitMethod = 'omp' | NearestMethod

/** Rows to approximate, and room for the results. */
interface TaskCommon {
  readonly dictionary: Dictionary
  /** The rows, `tokens` × `width`. */
  readonly targets: Float32Array
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

export interface OmpTask extends TaskCommon {
  readonly method: 'omp'
  readonly integers: Integers
  readonly cosines: CosineStore
}

export interface NearestTask extends TaskCommon {
  readonly method: NearestMethod
  /** Products of the rows with the dictionary, `tokens` × `count`, in float32. */
  readonly products: Float32Array
}

export type PursuitTask = OmpTask | NearestTask

/** Rows that become rows of a dictionary, from row `first` on. */
export interface RowsTask {
  readonly from: Float32Array
  readonly first: number
  readonly rows: number
  readonly dictionary: Dictionary
  readonly integers: Integers
  /** Counts the panels of four rows that threads took. */
  readonly next: Int32Array
}

/** Cosines of pairs of rows: some tiles of the upper half, which are mirrored. */
export interface CosinesTask {
  readonly count: number
  readonly width: number
  readonly integers: Integers
  readonly store: CosineStore
  readonly fromTile: number
  readonly toTile: number
  readonly next: Int32Array
}

/** Sums of rows with weights, in the order of places. */
export interface SumsTask {
  /** Rows of float32 numbers: in memory that threads share, or in an open file. */
  readonly rows: Float32Array | { readonly fd: number }
  readonly width: number
  /** By atom: its row there. */
  readonly places: Int32Array
  readonly tokens: number
  /** `k` for each token, as in a pursuit. */
  readonly k: number
  readonly atoms: Int32Array
  readonly weights: Float64Array
  /** `tokens` × `width`. */
  readonly sums: Float32Array
  readonly next: Int32Array
}
