/**
 * The directory of a zip archive as PyTorch's miniz writes it: uncompressed entries, zip64, one disk. terge trusts nothing in
 * it: the directory must end where the end record starts, names must stay inside the archive, entries must not repeat or
 * overlap each other or the directory, and each local header must agree with the directory.
 * Format: PKWARE APPNOTE 6.3.10. terge does not compare checksums, because it hashes data where it uses them.
 */
import { Buffer, isUtf8 } from 'node:buffer'
import { type Fault, fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import type { ByteSource } from '../../../storage/types.js'
import { DAMAGED, HARMFUL } from './hints.js'

export interface ZipEntry {
  readonly name: string
  /** Offset of the local header in the file. */
  readonly headerOffset: number
  /** Bytes in the archive. Equals `size` for a stored entry. */
  readonly packedSize: number
  readonly size: number
  readonly flags: number
  /** 0: stored. */
  readonly method: number
  /** Offset of the next entry, or of the directory. */
  readonly limit: number
}

export interface StoredEntry {
  /** Offset of the data in the file. */
  readonly offset: number
  readonly size: number
}

/** A comment of 65,535 bytes may follow the end record. */
const MAX_TAIL = 22 + 0xffff
/** PyTorch writes no comment, so that a short tail has the end records. */
const USUAL_TAIL = 1024
const END_BYTES = 22
const LOCATOR_BYTES = 20
const END64_BYTES = 56
const ENTRY_BYTES = 46
const LOCAL_BYTES = 30
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20
const MAX_ENTRIES = 2 ** 19
const MAX_NAME_BYTES = 4096
const ENCRYPTED = 1
/** The local header's sizes are zero and follow the data instead. */
const DESCRIPTOR = 8
const FULL16 = 0xffff
const FULL32 = 0xffffffff

type RawEntry = Omit<ZipEntry, 'limit'>

interface Directory {
  readonly offset: number
  readonly size: number
  readonly entries: number
}

const bad = (source: ByteSource, what: string, hint = DAMAGED): Fault =>
  fault('zip-directory', `${source.name}: the zip archive's directory: ${what}`, hint)

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** 64 bits as a number. Above 2⁵³ no offset is valid; infinity then fails every comparison with the file size. */
function u64(data: DataView, at: number): number {
  const value = data.getBigUint64(at, true)
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(value)
}

/** All entries, by name. Errors: `zip-directory`. */
export async function readZipDirectory(source: ByteSource): Promise<Map<string, ZipEntry>> {
  const directory = await findDirectory(source)
  const data = view(await source.read(directory.offset, directory.size))
  const entries = new Map<string, RawEntry>()
  let at = 0
  for (let index = 0; index < directory.entries; index++) {
    const { entry, next } = readEntry(source, data, at, index)
    if (entries.has(entry.name)) throw bad(source, `${quote(entry.name)} appears in it twice`, HARMFUL)
    entries.set(entry.name, entry)
    at = next
  }
  if (at !== directory.size) throw bad(source, `${directory.size - at} bytes after its last entry`)
  return withLimits(source, entries, directory.offset)
}

async function findDirectory(source: ByteSource): Promise<Directory> {
  const found = (await directoryIn(source, USUAL_TAIL)) ?? (await directoryIn(source, MAX_TAIL))
  if (!found) throw bad(source, 'its end is missing: the file is incomplete')
  return found
}

/** The directory, if its end records are in the last `most` bytes or a little before. */
async function directoryIn(source: ByteSource, most: number): Promise<Directory | undefined> {
  const tailSize = Math.min(source.size, most + LOCATOR_BYTES + END64_BYTES)
  const tailStart = source.size - tailSize
  const data = view(await source.read(tailStart, tailSize))
  let end = tailSize - END_BYTES
  // The comment must end exactly at the end of the file, so that no comment can imitate the record.
  while (
    end >= 0 &&
    !(data.getUint32(end, true) === 0x06054b50 && end + END_BYTES + data.getUint16(end + 20, true) === tailSize)
  )
    end--
  if (end < 0 || (tailStart > 0 && end < LOCATOR_BYTES + END64_BYTES)) return undefined
  const short: Directory & { disks: boolean } = {
    entries: data.getUint16(end + 10, true),
    size: data.getUint32(end + 12, true),
    offset: data.getUint32(end + 16, true),
    disks:
      data.getUint16(end + 4, true) !== 0 ||
      data.getUint16(end + 6, true) !== 0 ||
      data.getUint16(end + 8, true) !== data.getUint16(end + 10, true),
  }
  if (short.disks) throw bad(source, 'it spans several disks', HARMFUL)
  const locator = end - LOCATOR_BYTES
  const has64 = locator >= 0 && data.getUint32(locator, true) === 0x07064b50
  let found: Directory = short
  let limit = tailStart + end
  if (has64) {
    limit = u64(data, locator + 8)
    if (data.getUint32(locator + 4, true) !== 0 || data.getUint32(locator + 16, true) > 1)
      throw bad(source, 'it spans several disks', HARMFUL)
    if (limit + END64_BYTES !== tailStart + locator)
      throw bad(source, `its zip64 end is not at byte ${limit}, where the locator says it is`)
    found = readEnd64(source, data, limit - tailStart, short)
  } else if (short.entries === FULL16 || short.size === FULL32 || short.offset === FULL32)
    throw bad(source, 'its zip64 end is missing')
  if (found.offset + found.size !== limit)
    throw bad(source, `${found.size} bytes at byte ${found.offset} do not reach its end at byte ${limit}`)
  if (found.size > MAX_DIRECTORY_BYTES || found.entries > MAX_ENTRIES)
    throw bad(source, `${found.entries} entries in ${found.size} bytes are too many`, HARMFUL)
  return found
}

function readEnd64(source: ByteSource, data: DataView, at: number, short: Directory): Directory {
  if (at < 0 || data.getUint32(at, true) !== 0x06064b50) throw bad(source, 'its zip64 end is damaged')
  const long = { entries: u64(data, at + 32), size: u64(data, at + 40), offset: u64(data, at + 48) }
  if (data.getUint32(at + 16, true) !== 0 || data.getUint32(at + 20, true) !== 0 || u64(data, at + 24) !== long.entries)
    throw bad(source, 'it spans several disks', HARMFUL)
  const agree = (field: keyof Directory, full: number): boolean => short[field] === full || short[field] === long[field]
  if (
    u64(data, at + 4) !== END64_BYTES - 12 ||
    !agree('entries', FULL16) ||
    !agree('size', FULL32) ||
    !agree('offset', FULL32)
  )
    throw bad(source, 'its two end records contradict each other', HARMFUL)
  return long
}

function readEntry(source: ByteSource, data: DataView, at: number, index: number): { entry: RawEntry; next: number } {
  const left = data.byteLength - at
  if (left < ENTRY_BYTES || data.getUint32(at, true) !== 0x02014b50)
    throw bad(source, `entry ${index} is not where it should be`)
  const nameBytes = data.getUint16(at + 28, true)
  const extraBytes = data.getUint16(at + 30, true)
  const next = at + ENTRY_BYTES + nameBytes + extraBytes + data.getUint16(at + 32, true)
  if (next > data.byteLength) throw bad(source, `entry ${index} extends past its end`)
  const name = readName(source, new Uint8Array(data.buffer, data.byteOffset + at + ENTRY_BYTES, nameBytes), index)
  const fields = {
    size: data.getUint32(at + 24, true),
    packedSize: data.getUint32(at + 20, true),
    headerOffset: data.getUint32(at + 42, true),
  }
  const wide = zip64Fields(data, at + ENTRY_BYTES + nameBytes, extraBytes, fields)
  if (!wide) throw bad(source, `entry ${quote(name)} has a damaged zip64 field`)
  return { entry: { name, ...wide, flags: data.getUint16(at + 8, true), method: data.getUint16(at + 10, true) }, next }
}

interface Sizes {
  size: number
  packedSize: number
  headerOffset: number
}

/** Reads the 64-bit values of overflowed fields from extra field 1, in this fixed order; `undefined` if it is damaged. */
function zip64Fields(data: DataView, start: number, length: number, fields: Sizes): Sizes | undefined {
  const wide = { ...fields }
  const wanted = (['size', 'packedSize', 'headerOffset'] as const).filter((field) => fields[field] === FULL32)
  if (wanted.length === 0) return wide
  for (let at = start; at + 4 <= start + length; ) {
    const bytes = data.getUint16(at + 2, true)
    if (at + 4 + bytes > start + length) return undefined
    if (data.getUint16(at, true) === 1) {
      if (bytes < wanted.length * 8) return undefined
      for (const [index, field] of wanted.entries()) wide[field] = u64(data, at + 4 + index * 8)
      return wide
    }
    at += 4 + bytes
  }
  return undefined
}

function readName(source: ByteSource, bytes: Uint8Array, index: number): string {
  if (bytes.length === 0 || bytes.length > MAX_NAME_BYTES || !isUtf8(bytes))
    throw bad(source, `entry ${index} has an invalid name`)
  const name = new TextDecoder().decode(bytes)
  if (/[\\\0]/.test(name) || name.startsWith('/') || name.split('/').includes('..'))
    throw bad(source, `the name ${quote(name)} points outside of the archive`, HARMFUL)
  return name
}

/** Checks that the entries (local header, name and data) do not overlap and end before the directory. */
function withLimits(
  source: ByteSource,
  entries: ReadonlyMap<string, RawEntry>,
  directory: number,
): Map<string, ZipEntry> {
  const sorted = [...entries.values()].sort((a, b) => a.headerOffset - b.headerOffset)
  const placed = new Map<string, ZipEntry>()
  for (const [index, entry] of sorted.entries()) {
    const end = entry.headerOffset + LOCAL_BYTES + Buffer.byteLength(entry.name) + entry.packedSize
    const next = sorted[index + 1]
    const limit = next?.headerOffset ?? directory
    if (!(end <= limit && limit <= directory))
      throw bad(source, `${quote(entry.name)} overlaps ${next ? quote(next.name) : 'the directory'}`, HARMFUL)
    placed.set(entry.name, { ...entry, limit })
  }
  return placed
}

/**
 * Finds the data of a stored entry: reads its local header and compares it with the directory.
 * Errors: `zip-entry`, `zip-compressed`.
 */
export async function locateEntry(source: ByteSource, entry: ZipEntry): Promise<StoredEntry> {
  const wrong = (what: string): Fault =>
    fault('zip-entry', `${source.name}: zip entry ${quote(entry.name)}: ${what}`, DAMAGED)
  if (entry.flags & ENCRYPTED) throw wrong('it is encrypted')
  if (entry.method !== 0)
    throw fault(
      'zip-compressed',
      `${source.name}: zip entry ${quote(entry.name)} is compressed, but PyTorch never compresses`,
      'save it again with torch.save, or pack it again without compression (zip -0)',
    )
  if (entry.size !== entry.packedSize)
    throw wrong(`it is not compressed, but its ${entry.size} bytes take ${entry.packedSize}`)
  const nameBytes = Buffer.from(entry.name)
  const data = view(await source.read(entry.headerOffset, LOCAL_BYTES + nameBytes.length))
  if (data.getUint32(0, true) !== 0x04034b50) throw wrong(`no local header at byte ${entry.headerOffset}`)
  const name = Buffer.from(data.buffer, data.byteOffset + LOCAL_BYTES, nameBytes.length)
  if (data.getUint16(26, true) !== nameBytes.length || !name.equals(nameBytes))
    throw wrong('its local header has a different name')
  const flags = data.getUint16(6, true)
  if (data.getUint16(8, true) !== entry.method || ((flags ^ entry.flags) & (ENCRYPTED | DESCRIPTOR)) !== 0)
    throw wrong('its local header and the directory contradict each other')
  const extraBytes = data.getUint16(28, true)
  const offset = entry.headerOffset + LOCAL_BYTES + nameBytes.length + extraBytes
  if (offset + entry.size > entry.limit) throw wrong(`its ${entry.size} bytes at byte ${offset} overlap what follows`)
  const size = data.getUint32(22, true)
  const packedSize = data.getUint32(18, true)
  let sizes: { size: number; packedSize: number } | undefined = { size, packedSize }
  if (size === FULL32 || packedSize === FULL32) {
    const extra = view(await source.read(offset - extraBytes, extraBytes))
    sizes = zip64Fields(extra, 0, extraBytes, { size, packedSize, headerOffset: 0 })
  }
  const unsaid = (flags & DESCRIPTOR) !== 0 && sizes?.size === 0 && sizes.packedSize === 0
  if (!unsaid && (sizes?.size !== entry.size || sizes.packedSize !== entry.packedSize))
    throw wrong(`its local header contradicts the directory, which says ${entry.size} bytes`)
  return { offset, size: entry.size }
}
