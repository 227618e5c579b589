/** Records of ranges of tiles: what is finished of a tensor that is under way. Like records of units, they are claims. */
import { sha256 } from '../../core/digest.js'
import { digestsSize } from '../schedule/ranges.js'

export interface TileRecord {
  /** The key of the tensor's unit. */
  readonly key: string
  readonly pass: number
  readonly firstTile: number
  readonly tiles: number
  /** See `TileRange`. */
  readonly given: string
  /** The inputs of the unit's record; null for those that `leaves` has digests of, or that are not read up to this pass. */
  readonly inputs: readonly (string | null)[]
  /** What the pass read of stored tensors. `read`: index into the unit's reads. */
  readonly leaves: readonly (ByteRange & { readonly read: number })[]
  /** What the pass wrote, in the order of the tensor's elements. */
  readonly output?: ByteRange
  readonly sums?: Float64Array
  readonly counts?: Uint32Array
  readonly nonFinite: number
  /** Bytes that its tasks read. */
  readonly read: number
}

/** Bytes of a stored tensor, with their leaf digests. */
export interface ByteRange {
  /** From the tensor's first byte. */
  readonly from: number
  readonly bytes: number
  readonly digests: Uint8Array
}

/** How every line begins, and no other line of a journal. */
const BEGIN = '[{"tiles":'

type Numbers = readonly [from: number, bytes: number, digests: string]

interface Line {
  readonly tiles: string
  readonly pass: number
  readonly range: readonly [first: number, count: number]
  readonly given: string
  readonly inputs: readonly (string | null)[]
  readonly leaves: readonly (readonly [read: number, ...Numbers])[]
  readonly output?: Numbers
  readonly sums?: string
  readonly counts?: string
  readonly nonFinite: number
  readonly read: number
}

const base64 = ({ buffer, byteOffset, byteLength }: NodeJS.ArrayBufferView): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64')

const bytesIn = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'base64'))

/** A record as one line of text, with a checksum to detect damaged lines. */
export function tileLine(record: TileRecord): string {
  const { key, pass, firstTile, tiles, given, inputs, leaves, output, sums, counts, nonFinite, read } = record
  const numbers = ({ from, bytes, digests }: ByteRange): Numbers => [from, bytes, base64(digests)]
  const line: Line = {
    ...{ tiles: key, pass, range: [firstTile, tiles], given, inputs, nonFinite, read },
    leaves: leaves.map((leaf) => [leaf.read, ...numbers(leaf)] as const),
    ...(output ? { output: numbers(output) } : {}),
    ...(sums ? { sums: base64(sums) } : {}),
    ...(counts ? { counts: base64(counts) } : {}),
  }
  const text = JSON.stringify(line)
  return `[${text},"${sha256(text)}"]`
}

/** Parses a record; undefined if the line is damaged or not a record of tiles. */
export function parseTiles(text: string): TileRecord | undefined {
  if (!text.startsWith(BEGIN)) return undefined
  try {
    const [line, sum] = JSON.parse(text) as [Line, unknown]
    if (sum !== sha256(JSON.stringify(line))) return undefined
    const [firstTile, tiles] = line.range
    const { tiles: key, pass, given, inputs, nonFinite, read } = line
    const numbers = [pass, firstTile, tiles, nonFinite, read, ...line.leaves.map(([read]) => read)]
    const texts = [key, given, ...inputs.filter((input) => input !== null)]
    if (!numbers.every(isCount) || !texts.every((text) => typeof text === 'string')) return undefined
    const leaves = line.leaves.map(([read, ...rest]) => ({ read, ...rangeOf(rest) }))
    return {
      ...{ key, pass, firstTile, tiles, given, inputs, leaves, nonFinite, read },
      ...(line.output ? { output: rangeOf(line.output) } : {}),
      ...(line.sums === undefined ? {} : { sums: new Float64Array(bytesIn(line.sums).buffer) }),
      ...(line.counts === undefined ? {} : { counts: new Uint32Array(bytesIn(line.counts).buffer) }),
    }
  } catch {
    return undefined
  }
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

function rangeOf([from, bytes, text]: Numbers): ByteRange {
  const digests = bytesIn(text)
  if (!isCount(from) || !isCount(bytes) || digests.length !== digestsSize(bytes)) throw new Error('damaged')
  return { from, bytes, digests }
}
