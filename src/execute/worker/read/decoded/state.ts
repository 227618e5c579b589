/** What a decoded reader keeps in a worker's scratch space while tasks of its program run. */
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
  /** Scales by row-major index, or rows of them if `lined` is set: then those of a group follow each other. */
  readonly scales: Run
  readonly lined: boolean
  /** Zero points of the same scales; undefined if there are none, or if the table of nibbles has them. */
  readonly zeros: number | undefined
  /** Bytes of a part as they are stored. */
  readonly raw: number
  /** The table of nibbles, and that of nested scales. */
  readonly table: number
  readonly nested: number
  /** A 1, and the places of fields in words: those of codes, and those of zero points. */
  readonly one: number
  readonly codeOrder: number
  readonly zeroOrder: number
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

/** Places in the space for tables, in bytes. */
const TABLES = { table: 0, nested: 64, one: 1088, codeOrder: 1104, zeroOrder: 1136 }

/** Whether a part is a matrix that is stored transposed. */
export function isColumns({ parts }: DecodedReader, part: number): boolean {
  const { reader } = parts[part]!
  return reader.kind === 'strided' && reader.shape.length === 2 && reader.strides[0] === 1
}

/** Whether scales, and zero points if there are any, are stored group by group. */
function isLined(reader: DecodedReader): boolean {
  const { scale, zero, block } = reader.form
  if (block[0] !== 1 || scale.form.kind !== 'number' || !isColumns(reader, scale.part)) return false
  return zero === undefined || zero.kind === 'constant' || (zero.kind === 'fields' && isColumns(reader, zero.part))
}

/** Whether the table of nibbles has numbers minus a zero point. */
export const hasZeroInTable = ({ codes, zero }: DecodedReader['form']): boolean =>
  zero?.kind === 'constant' && codes.kind === 'fields' && codes.bits === 4

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
    lined: isLined(reader),
    zeros: form.zero && !hasZeroInTable(form) ? zeros : undefined,
    raw,
    table: tables + TABLES.table,
    nested: tables + TABLES.nested,
    one: tables + TABLES.one,
    codeOrder: tables + TABLES.codeOrder,
    zeroOrder: tables + TABLES.zeroOrder,
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
