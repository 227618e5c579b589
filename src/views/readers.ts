/** How a worker reads elements, as plain data: what views are lowered to. Row-major indexes of elements go in. */
import type { FloatDtype } from '../core/dtypes.js'

export type Reader =
  | ContiguousReader
  | StridedReader
  | MappedReader
  | RowsReader
  | ConcatReader
  | PickedReader
  | MemoryReader
  | HeldReader

/** Elements one after the other in a file. */
export interface ContiguousReader {
  readonly kind: 'contiguous'
  readonly file: number
  readonly offset: number
  readonly bytes: number
}

/** Elements of a file with strides, which count elements. */
export interface StridedReader {
  readonly kind: 'strided'
  readonly file: number
  readonly offset: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]
}

/** Places along axes, and the elements that they stand for: place i is `maps[axis][i]`, or i where an axis has no map. */
export interface AxisPlaces {
  readonly shape: readonly number[]
  /** In elements. */
  readonly strides: readonly number[]
  readonly maps: readonly (Int32Array | null)[]
}

/** Elements of a file through maps. */
export interface MappedReader extends AxisPlaces {
  readonly kind: 'mapped'
  readonly file: number
  readonly offset: number
  /** From the first byte to the last. */
  readonly bytes: number
}

/** Elements of another reader through maps: `start` and strides count its row-major indexes. */
export interface PickedReader extends AxisPlaces {
  readonly kind: 'picked'
  readonly of: Reader
  readonly start: number
}

/** A reader with what its elements are. */
export interface Source {
  readonly reader: Reader
  readonly dtype: FloatDtype | 'raw'
  /** 1 where raw: an element is then a byte. */
  readonly elementBytes: number
}

/** Rows of several sources, as `RowMap` says. */
export interface RowsReader {
  readonly kind: 'rows'
  /** In elements. */
  readonly rowLength: number
  readonly sources: readonly Source[]
  /** First row of each run, and how many rows there are in all. */
  readonly starts: Int32Array
  readonly runSources: Int32Array
  readonly runRows: Int32Array
  readonly means: readonly (readonly number[])[]
}

/** Sources that take turns: so many elements of each, over and over. */
export interface ConcatReader {
  readonly kind: 'concat'
  readonly parts: readonly { readonly source: Source; readonly block: number }[]
}

/** Values on memory that threads share; they are there when the program begins. */
export interface MemoryReader {
  readonly kind: 'memory'
  readonly values?: Float32Array | Float64Array
}

/** Values at an address of the team's memory. */
export interface HeldReader {
  readonly kind: 'held'
  readonly address: number
}

/** Whether elements come from files. */
export function isStored(reader: Reader): boolean {
  if (reader.kind === 'picked') return isStored(reader.of)
  return reader.kind !== 'memory' && reader.kind !== 'held'
}

/** How many readers of other readers stand within each other: each has scratch space of its own. */
export function depthOf(reader: Reader): number {
  switch (reader.kind) {
    case 'rows':
      return 1 + deepest(reader.sources)
    case 'concat':
      return 1 + deepest(reader.parts.map(({ source }) => source))
    case 'picked':
      return 1 + depthOf(reader.of)
    default:
      return 0
  }
}

const deepest = (sources: readonly Source[]): number =>
  sources.reduce((most, { reader }) => Math.max(most, depthOf(reader)), 0)

/** The reader with these values in place of those that were not there yet. */
export function withValues(reader: Reader, values: Float32Array | Float64Array): Reader {
  if (reader.kind === 'picked') return { ...reader, of: withValues(reader.of, values) }
  return reader.kind === 'memory' ? { kind: 'memory', values } : reader
}
