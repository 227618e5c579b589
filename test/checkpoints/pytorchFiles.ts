/** A small assembler for pickles and zip archives: honest ones as PyTorch writes them, and any kind of lie. */
import { Buffer } from 'node:buffer'

type Part = number | string | Uint8Array

/** Numbers are single bytes, strings their UTF-8. */
export const join = (...parts: readonly Part[]): Uint8Array =>
  // A plain array: a Buffer's `slice` is no copy.
  new Uint8Array(
    Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part as Uint8Array)))),
  )

export function little(value: number | bigint, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes)
  for (let index = 0, rest = BigInt(value); index < bytes; index++, rest >>= 8n) out[index] = Number(rest & 255n)
  return out
}

// Instructions of the pickle machine, by the names of pickletools; each gives the bytes that leave one value.
export const MARK = '('
export const NONE = 'N'
export const EMPTY_TUPLE = ')'
export const EMPTY_DICT = '}'
export const EMPTY_LIST = ']'
export const global = (module: string, name: string): Uint8Array => join(`c${module}\n${name}\n`)
export const string = (text: string): Uint8Array => join('X', little(Buffer.byteLength(text), 4), text)
/** As LONG1 of 8 bytes: any whole number of 64 bits. */
export const int = (value: number | bigint): Uint8Array => join(0x8a, 8, little(BigInt.asUintN(64, BigInt(value)), 8))
export const tuple = (...items: readonly Part[]): Uint8Array => join(MARK, ...items, 't')
export const ints = (values: readonly (number | bigint)[]): Uint8Array => tuple(...values.map(int))
export const call = (callee: Uint8Array, ...args: readonly Part[]): Uint8Array => join(callee, tuple(...args), 'R')
export const dict = (entries: Readonly<Record<string, Part>>): Uint8Array =>
  join(EMPTY_DICT, MARK, ...Object.entries(entries).flatMap(([key, value]) => [string(key), value]), 'u')
export const pickle = (value: Part): Uint8Array => join(0x80, 2, value, '.')

export interface StorageOptions {
  readonly type?: readonly [module: string, name: string]
  readonly key?: string
  readonly length?: number | bigint
}
export const storage = ({ type = ['torch', 'FloatStorage'], key = '0', length = 6 }: StorageOptions = {}): Uint8Array =>
  join(tuple(string('storage'), global(...type), string(key), string('cpu'), int(length)), 'Q')

export interface TensorOptions {
  readonly storage?: Part
  readonly offset?: number | bigint
  readonly shape?: readonly (number | bigint)[]
  readonly strides?: readonly (number | bigint)[]
}
export const tensor = ({
  storage: data = storage(),
  offset = 0,
  shape = [2, 3],
  strides = [3, 1],
}: TensorOptions = {}): Uint8Array =>
  call(global('torch._utils', '_rebuild_tensor_v2'), data, int(offset), ints(shape), ints(strides), 0x89, EMPTY_DICT)

export interface ZipFile {
  readonly name: string
  readonly data: Uint8Array
  /** Fields of the directory that lie. */
  readonly central?: Partial<Record<'method' | 'flags' | 'size' | 'packed' | 'offset', number>> & {
    readonly name?: string
    readonly extra?: Uint8Array
  }
  readonly local?: Partial<Record<'method' | 'flags' | 'size' | 'packed', number>> & {
    readonly name?: string
    readonly signature?: number
    readonly extra?: Uint8Array
  }
}

export interface ZipOptions {
  readonly zip64?: boolean
  readonly comment?: string
  /** Fields of the end records that lie. */
  readonly end?: Partial<Record<'entries' | 'size' | 'offset', number>>
  readonly end64?: Partial<Record<'entries' | 'size' | 'offset' | 'at' | 'disk', number | bigint>>
  /** Bytes between the directory and its end. */
  readonly gap?: Uint8Array
}

export function zip(
  files: readonly ZipFile[],
  { zip64 = false, comment = '', end = {}, end64 = {}, gap = new Uint8Array() }: ZipOptions = {},
): Uint8Array {
  const body: Uint8Array[] = []
  const central: Uint8Array[] = []
  let at = 0
  for (const { name, data, central: c = {}, local: l = {} } of files) {
    const localName = l.name ?? name
    const localExtra = l.extra ?? new Uint8Array()
    const local = join(
      little(l.signature ?? 0x04034b50, 4), little(0, 2), little(l.flags ?? 0, 2), little(l.method ?? 0, 2), little(0, 8),
      little(l.packed ?? data.length, 4), little(l.size ?? data.length, 4),
      little(Buffer.byteLength(localName), 2), little(localExtra.length, 2), localName, localExtra,
    ) // biome-ignore format: a field a place
    const centralName = c.name ?? name
    const extra = c.extra ?? new Uint8Array()
    central.push(
      join(
        little(0x02014b50, 4),
        little(0, 4),
        little(c.flags ?? 0, 2),
        little(c.method ?? 0, 2),
        little(0, 8),
        little(c.packed ?? data.length, 4),
        little(c.size ?? data.length, 4),
        little(Buffer.byteLength(centralName), 2),
        little(extra.length, 2),
        little(0, 10),
        little(c.offset ?? at, 4),
        centralName,
        extra,
      ),
    )
    body.push(local, data)
    at += local.length + data.length
  }
  const directory = join(...central)
  const endAt = at + directory.length + gap.length
  const wide = join(
    little(0x06064b50, 4),
    little(44, 8),
    little(0, 4),
    little(end64.disk ?? 0, 4),
    little(0, 4),
    little(end64.entries ?? files.length, 8),
    little(end64.entries ?? files.length, 8),
    little(end64.size ?? directory.length, 8),
    little(end64.offset ?? at, 8),
    little(0x07064b50, 4),
    little(0, 4),
    little(end64.at ?? endAt, 8),
    little(1, 4),
  )
  return join(
    ...body,
    directory,
    gap,
    zip64 ? wide : '',
    little(0x06054b50, 4),
    little(0, 4),
    little(end.entries ?? files.length, 2),
    little(end.entries ?? files.length, 2),
    little(end.size ?? directory.length, 4),
    little(end.offset ?? at, 4),
    little(comment.length, 2),
    comment,
  )
}

/** A file as `torch.save` writes it, around any value, with its storages. */
export const torchZip = (
  value: Part,
  storages: Readonly<Record<string, Uint8Array>> = { 0: new Uint8Array(24) },
  options: ZipOptions = {},
): Uint8Array => zip(torchEntries(value, storages), options)

export const torchEntries = (
  value: Part,
  storages: Readonly<Record<string, Uint8Array>> = { 0: new Uint8Array(24) },
): ZipFile[] => [
  { name: 'm/data.pkl', data: pickle(value) },
  ...Object.entries(storages).map(([key, data]) => ({ name: `m/data/${key}`, data })),
  { name: 'm/version', data: join('3\n') },
]

export interface LegacyStorage {
  readonly key: string
  readonly length: number | bigint
  readonly data: Uint8Array
}

/** The same in the format before 1.6. */
export const torchLegacy = (
  value: Part,
  storages: readonly LegacyStorage[] = [{ key: '0', length: 6, data: new Uint8Array(24) }],
  littleEndian: Part = 0x88,
): Uint8Array =>
  join(
    pickle(join(0x8a, 10, little(0x1950a86a20f9469cfc6cn, 10))),
    pickle(int(1001)),
    pickle(dict({ protocol_version: int(1001), little_endian: littleEndian })),
    pickle(value),
    pickle(join(EMPTY_LIST, MARK, ...storages.map(({ key }) => string(key)), 'e')),
    ...storages.flatMap(({ length, data }) => [little(length, 8), data]),
  )

/** Numbers from 0 to 2³² − 1 from a seed (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}
