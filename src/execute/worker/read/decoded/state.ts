/** What a decoded reader keeps in a worker's scratch space while a task runs. */
import { matrixOf, scaleRows, wordsOf } from '../../../../views/decodeForm.js'
import { CACHES, SCRATCH } from '../../../../views/decodeScratch.js'
import type { DecodedReader } from '../../../../views/readers.js'
import type { Reading } from '../reading.js'

/** A run of elements that are in the scratch space, by row-major index. */
export interface Run {
  readonly address: number
  from: number
  to: number
}

export interface DecodedState {
  readonly reader: DecodedReader
  readonly reading: Reading
  readonly rows: number
  readonly columns: number
  /** Rows of one matrix, and its rows of scales. */
  readonly height: number
  readonly scaleHeight: number
  readonly scales: Run
  /** Zero points of the same scales; undefined if there are none. */
  readonly zeros: number | undefined
  /** Bytes of a part as they are stored. */
  readonly raw: number
  /** The table of nibbles, and that of nested scales. */
  readonly table: number
  readonly nested: number
  /** The map of groups; undefined if they are runs of columns. */
  groups: number | undefined
  /** By which all scales are multiplied or divided. */
  factor: number
  /** Codes that are not contiguous in the file. */
  readonly band: Run
  /** Bytes of a row of codes. */
  readonly rowBytes: number
  /** The part of each row of codes that is in the band, if it holds parts of rows. */
  box?: { readonly row: number; readonly rows: number; readonly from: number; readonly bytes: number }
}

/** A state whose caches are empty. */
export function newState(reader: DecodedReader, reading: Reading): DecodedState {
  const { shape, form } = reader
  const size = matrixOf(shape)
  let at = reading.scratch + SCRATCH
  const place = (bytes: number): number => {
    at += bytes
    return at - bytes
  }
  const run = (address: number): Run => ({ address, from: 0, to: 0 })
  const [scales, zeros, raw, map, tables] = Object.values(CACHES).map(place) as [number, number, number, number, number]
  return {
    ...{ reader, reading, ...size, scaleHeight: scaleRows(shape, form.block) / (size.rows / size.height || 1) },
    scales: run(scales),
    zeros: form.zero ? zeros : undefined,
    raw,
    table: tables,
    nested: tables + 64,
    groups: form.groupOf ? map : undefined,
    factor: 1,
    band: run(at),
    rowBytes: rowBytes(form.codes, size.columns),
  }
}

function rowBytes(codes: DecodedReader['form']['codes'], columns: number): number {
  switch (codes.kind) {
    case 'numbers':
      return columns
    case 'nibbles':
      return columns / 2
    case 'fields':
      return 4 * wordsOf(columns, codes.bits, codes.perWord)
    case 'across':
      return 4 * columns
  }
}
