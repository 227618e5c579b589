/**
 * The bytes of an output before its data. Canonical: the same tensors and metadata give the same headers, in the order
 * that the reference implementation writes (huggingface/safetensors, `prepare`): metadata, then tensors by dtype, wider
 * first, then by name; data in the same order and without gaps; the header filled up with spaces to 8 bytes.
 */
import { Buffer } from 'node:buffer'
import { type Fault, fault } from '../core/diagnostics.js'
import { DTYPES, type Dtype, elements } from '../core/dtypes.js'
import { quote } from '../core/suggest.js'
import { MAX_HEADER_BYTES } from './containers/safetensors/header.js'
import { modulePrefix } from './modules.js'
import type { CheckpointModule, OutputLayout, PlacedTensor, TensorSpec } from './types.js'

export interface LayoutOptions {
  readonly kind: 'file' | 'folder'
  /** Of a `file`; in a folder the names are the hub's. */
  readonly fileName?: string
  /** In bytes of tensor data a file, folders only. A larger tensor gets a file of its own. */
  readonly shardSize?: number
  /** Of a pipeline: each module's tensors lie in its own folder, under their own names. Folders only. */
  readonly modules?: readonly Pick<CheckpointModule, 'name' | 'stem'>[]
  /** `format: "pt"` is added where it is not given: the hub's libraries ask for it. */
  readonly metadata: Readonly<Record<string, string>>
}

/** The order in which the reference implementation's dtypes stand, by alignment: that of `DTYPES`. */
const RANK = new Map(Object.keys(DTYPES).map((dtype, rank) => [dtype as Dtype, rank]))

/**
 * Lays out an output of these tensors; shards are filled in the order given.
 * Faults: `too-large` beyond 2⁵³ bytes, `header-too-large` if the names don't fit the format, `bad-name`.
 */
export function layoutCheckpoint(tensors: readonly TensorSpec[], options: LayoutOptions): OutputLayout {
  const sized = tensors.map((tensor) => {
    const { name, dtype, shape } = tensor
    return { name, dtype, shape, bytes: sizeOf(tensor) }
  })
  const total = sized.reduce((sum, { bytes }) => sum + bytes, 0)
  if (!Number.isSafeInteger(total + MAX_HEADER_BYTES))
    throw fault('too-large', `the output's tensors take ${total} bytes, more than a file can be asked for`)
  const parts = options.kind === 'folder' ? byModule(sized, options.modules ?? []) : [{ ...WHOLE, tensors: sized }]
  const files: OutputLayout['files'][number][] = []
  const placed: PlacedTensor[] = []
  const indexes: OutputLayout['indexes'][number][] = []
  for (const { prefix, folder, stem, tensors } of parts) {
    const shards = options.kind === 'folder' ? split(tensors, options.shardSize) : [tensors]
    const names = shards.map((_, index) =>
      options.kind === 'file' ? (options.fileName ?? 'model.safetensors') : shardName(stem, index, shards.length),
    )
    const owner = new Map<string, string>()
    for (const [index, shard] of shards.entries()) {
      const own = (name: string): string => name.slice(prefix.length)
      const ordered = [...shard].sort((a, b) => RANK.get(b.dtype)! - RANK.get(a.dtype)! || compareNames(a.name, b.name))
      const inside = prefix === '' ? ordered : ordered.map((tensor) => ({ ...tensor, name: own(tensor.name) }))
      const header = writeHeader(inside, options.metadata, names[index]!)
      let offset = header.length
      for (const tensor of ordered) {
        const { name, dtype, shape, bytes } = tensor
        placed.push({ name, dtype, shape, bytes, file: files.length, offset })
        owner.set(own(tensor.name), names[index]!)
        offset += tensor.bytes
      }
      files.push({ name: `${folder}${names[index]!}`, size: offset, header })
    }
    if (shards.length > 1) {
      const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0)
      if (owner.size < tensors.length) throw twice(tensors)
      indexes.push({ name: `${folder}${stem}.safetensors.index.json`, text: indexText(owner, bytes) })
    }
  }
  return { files, tensors: placed, indexes }
}

const WHOLE = { prefix: '', folder: '', stem: 'model' }

/** Tensors by the module that the beginning of their names says, in the order of modules; the rest, or all, is one part. */
function byModule<T extends TensorSpec>(tensors: readonly T[], modules: NonNullable<LayoutOptions['modules']>) {
  const parts = modules.map(({ name, stem }) => ({
    ...{ prefix: modulePrefix(name), folder: name === '' ? '' : `${name}/`, stem },
    tensors: [] as T[],
  }))
  const whole = parts.find(({ prefix }) => prefix === '') ?? { ...WHOLE, tensors: [] as T[] }
  for (const tensor of tensors) {
    const part = parts.find(({ prefix }) => prefix !== '' && tensor.name.startsWith(prefix)) ?? whole
    part.tensors.push(tensor)
  }
  const filled = parts.filter((part) => part.tensors.length > 0 || part === whole)
  return parts.includes(whole) || (whole.tensors.length === 0 && filled.length > 0) ? filled : [...filled, whole]
}

function sizeOf({ name, dtype, shape }: TensorSpec): number {
  const bits = elements(shape) * DTYPES[dtype].bits
  if (!Number.isSafeInteger(bits) || shape.some((size) => !Number.isSafeInteger(size) || size < 0))
    throw fault('too-large', `tensor ${quote(name)}: ${dtype} of shape [${shape.join(', ')}] has more bits than 2⁵³`)
  if (bits % 8 !== 0) throw new Error(`internal: tensor ${name} does not fill whole bytes`)
  return bits / 8
}

/** Bytes that a tensor's entry in a header takes at most, beside its name and shape. */
const ENTRY_BYTES = 100
/** Bytes of a header, less room for metadata. */
const HEADER_ROOM = 0.98 * MAX_HEADER_BYTES

/** Greedily, in the order given. Without a shard's size the format's limit of a header alone splits. */
function split<T extends TensorSpec & { readonly bytes: number }>(tensors: readonly T[], shardSize?: number): T[][] {
  const shards: T[][] = [[]]
  let used = 0
  let header = 0
  for (const tensor of tensors) {
    const entry = ENTRY_BYTES + Buffer.byteLength(JSON.stringify(tensor.name)) + 17 * tensor.shape.length
    const full = used + tensor.bytes > (shardSize ?? Number.POSITIVE_INFINITY)
    if (shards.at(-1)!.length > 0 && (full || header + entry > HEADER_ROOM)) {
      shards.push([])
      used = 0
      header = 0
    }
    shards.at(-1)!.push(tensor)
    used += tensor.bytes
    header += entry
  }
  return shards
}

/** The hub's names: five digits, counted from 1. */
function shardName(stem: string, index: number, count: number): string {
  if (count === 1) return `${stem}.safetensors`
  const digits = (value: number) => String(value).padStart(5, '0')
  return `${stem}-${digits(index + 1)}-of-${digits(count)}.safetensors`
}

/** Members of a header that are joined to one text: a million small texts take several times the memory. */
const JOINED = 1000

function writeHeader(
  tensors: readonly (TensorSpec & { readonly bytes: number })[],
  metadata: Readonly<Record<string, string>>,
  fileName: string,
): Uint8Array {
  const pairs = new Map([['format', 'pt'], ...Object.entries(metadata)])
  const texts = [...pairs].sort(([a], [b]) => compareNames(a, b)).map(([key, value]) => `${text(key)}:${text(value)}`)
  const members = [`"__metadata__":{${texts.join(',')}}`]
  const joined: string[] = []
  const seen = new Set(['__metadata__'])
  let begin = 0
  for (const { name, dtype, shape, bytes } of tensors) {
    if (seen.has(name)) throw fault('bad-name', `${fileName}: two tensors are to be called ${quote(name)}`)
    seen.add(name)
    const end = begin + bytes
    members.push(`${text(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${begin},${end}]}`)
    begin = end
    if (members.length === JOINED) joined.push(members.splice(0).join(','))
  }
  const json = `{${[...joined, ...members].join(',')}}`
  const length = Math.ceil(Buffer.byteLength(json) / 8) * 8
  if (length > MAX_HEADER_BYTES)
    throw fault('header-too-large', `${fileName}: a header of ${length} bytes, the format allows ${MAX_HEADER_BYTES}`)
  const header = Buffer.alloc(8 + length, ' ')
  header.writeBigUInt64LE(BigInt(length))
  header.write(json, 8)
  return new Uint8Array(header.buffer, header.byteOffset, header.length)
}

function indexText(owner: ReadonlyMap<string, string>, total: number): string {
  const entries = [...owner].sort(([a], [b]) => compareNames(a, b))
  const lines = entries.map(([name, file]) => `    ${text(name)}: ${text(file)}`)
  return `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${lines.join(',\n')}\n  }\n}\n`
}

/** Two tensors of one name, in files of their own. */
function twice(tensors: readonly TensorSpec[]): Fault {
  const seen = new Set<string>()
  const name = tensors.find(({ name }) => seen.has(name) || !seen.add(name))?.name ?? ''
  return fault('bad-name', `two tensors are to be called ${quote(name)}`)
}

/** JSON as the reference implementation writes it. Half a surrogate pair has no UTF-8, so it can't be written. */
function text(value: string): string {
  if (/\p{Surrogate}/u.test(value)) throw fault('bad-name', `${quote(value)} can't be written as UTF-8`)
  return JSON.stringify(value)
}

/** In the order of code points, which is that of UTF-8 bytes and so the reference implementation's. */
function compareNames(a: string, b: string): number {
  const shared = Math.min(a.length, b.length)
  for (let at = 0; at < shared; at++) {
    const x = a.charCodeAt(at)
    const y = b.charCodeAt(at)
    if (x === y) continue
    // Surrogates stand for the highest code points, though other units are above them.
    const high = (unit: number) => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit)
    return high(x) - high(y)
  }
  return a.length - b.length
}
