/**
 * Readers say how a worker reads elements, as plain data. Views are lowered to them, and elements are addressed by
 * row-major index.
 */
import type { FloatDtype } from '../core/dtypes.js'
import type { DecodeForm } from './decodeForm.js'

export type Reader =
  | ContiguousReader
  | StridedReader
  | MappedReader
  | RowsReader
  | ConcatReader
  | PickedReader
  | DecodedReader
  | TurnedReader
  | MemoryReader
  | HeldReader

/** Contiguous elements in a file. */
export interface ContiguousReader {
  readonly kind: 'contiguous'
  readonly file: number
  readonly offset: number
  readonly bytes: number
}

/** Elements of a file with strides, in elements. */
export interface StridedReader {
  readonly kind: 'strided'
  readonly file: number
  readonly offset: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]
}

/** Maps places along axes to elements: place i is element `maps[axis][i]`, or i if the axis has no map. */
export interface AxisPlaces {
  readonly shape: readonly number[]
  /** In elements. */
  readonly strides: readonly number[]
  readonly maps: readonly (Int32Array | null)[]
}

/** Elements of a file, selected by maps. */
export interface MappedReader extends AxisPlaces {
  readonly kind: 'mapped'
  readonly file: number
  readonly offset: number
  /** From the first byte to the last. */
  readonly bytes: number
}

/** Elements of another reader, selected by maps. `start` and strides count its row-major indexes. */
export interface PickedReader extends AxisPlaces {
  readonly kind: 'picked'
  readonly of: Reader
  readonly start: number
}

/** Float32 numbers that are computed from codes. */
export interface DecodedReader {
  readonly kind: 'decoded'
  readonly shape: readonly number[]
  readonly form: DecodeForm
  /** The parts that the form refers to; what is not floating-point has its stored elements. */
  readonly parts: readonly Source[]
  /** By part, for errors: the stored tensor. */
  readonly names: readonly { readonly file: number; readonly tensor: string }[]
}

/** The matrices of another reader, each transposed. */
export interface TurnedReader {
  readonly kind: 'turned'
  readonly of: DecodedReader
}

/** A reader with its dtype. */
export interface Source {
  readonly reader: Reader
  readonly dtype: FloatDtype | 'raw'
  /** If raw, 1: each element is a byte. Parts of decoded numbers have their stored elements. */
  readonly elementBytes: number
}

/** Rows of several sources, described by a `RowMap`. */
export interface RowsReader {
  readonly kind: 'rows'
  /** In elements. */
  readonly rowLength: number
  readonly sources: readonly Source[]
  /** The first row of each run, and the number of rows as the last entry. */
  readonly starts: Int32Array
  readonly runSources: Int32Array
  readonly runRows: Int32Array
  readonly means: readonly (readonly number[])[]
}

/** Sources in turns: a block of elements of each, repeated. */
export interface ConcatReader {
  readonly kind: 'concat'
  readonly parts: readonly { readonly source: Source; readonly block: number }[]
}

/** Values in memory that threads share, or float32 numbers in a file that the process has open. */
export type Values = Float32Array | Float64Array | { readonly fd: number }

/** Values that exist before the program starts. */
export interface MemoryReader {
  readonly kind: 'memory'
  readonly values?: Values
}

/** Values at an address in the team's memory. */
export interface HeldReader {
  readonly kind: 'held'
  readonly address: number
}

/** Whether the elements come from files. */
export function isStored(reader: Reader): boolean {
  if (reader.kind === 'picked') return isStored(reader.of)
  return reader.kind !== 'memory' && reader.kind !== 'held'
}

/** The reader with values for those that did not exist yet. */
export function withValues(reader: Reader, values: Values): Reader {
  if (reader.kind === 'picked') return { ...reader, of: withValues(reader.of, values) }
  return reader.kind === 'memory' ? { kind: 'memory', values } : reader
}
