/** Codes that a worker keeps because they lie in another order in the file than numbers are needed. */
import { TILE } from '../kernels/types.js'
import { matrixOf } from './decodeForm.js'
import type { DecodedReader, Reader, Source } from './readers.js'

/** Bytes that all bands of a program share, and bytes of one band. */
const BANDS = 24 * 2 ** 20
const LEAST = 2 ** 20
const MOST = 16 * 2 ** 20

/** Bytes of a band in a program that has so many. */
export const bandBytes = (bands: number): number =>
  Math.max(LEAST, Math.min(MOST, Math.floor(BANDS / Math.max(1, bands) / 65536) * 65536))

/** The reader of numbers that needs a band; undefined if there is none. */
export function bandReader(reader: Reader): DecodedReader | undefined {
  switch (reader.kind) {
    case 'decoded':
      return reader.parts[0]!.reader.kind !== 'contiguous' || reader.form.codes.kind === 'across' ? reader : undefined
    case 'turned':
      return reader.of
    case 'picked':
      return bandReader(reader.of)
    case 'rows':
      return firstBand(reader.sources.map(({ reader }) => reader))
    case 'concat':
      return firstBand(reader.parts.map(({ source }) => source.reader))
    default:
      return undefined
  }
}

const firstBand = (readers: readonly Reader[]): DecodedReader | undefined =>
  readers.map(bandReader).find((reader) => reader !== undefined)

/** How many of some sources need a band. */
export const bandCount = (sources: readonly Source[]): number =>
  sources.filter(({ reader }) => bandReader(reader)).length

/** Tiles that are best made at once: those whose codes fit into a band. Undefined if there is no band. */
export function bandTiles(sources: readonly Source[]): number | undefined {
  const found = sources.flatMap(({ reader }) => bandReader(reader) ?? [])
  if (found.length === 0) return undefined
  const bytes = bandBytes(found.length)
  return Math.max(1, Math.min(...found.map((reader) => Math.floor(numbersIn(reader, bytes) / TILE))))
}

/** Numbers whose codes are in so many bytes, with something to spare for rows that are partly needed. */
function numbersIn({ shape, form: { codes } }: DecodedReader, bytes: number): number {
  const { rows, columns } = matrixOf(shape)
  const perByte = codes.kind === 'numbers' ? 1 : codes.kind === 'nibbles' ? 2 : 8 / codes.bits
  const numbers = Math.floor((bytes * perByte * 16) / 17)
  if (numbers >= rows * columns) return Math.ceil((rows * columns) / TILE) * TILE
  return numbers - (codes.kind === 'across' ? 2 * codes.order.length : 2) * columns
}
