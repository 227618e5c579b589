/**
 * The safetensors header: 8 bytes of length, JSON of that length, then the tensor data without gaps. The checks and their
 * order are those of the reference implementation (huggingface/safetensors, `read_metadata` and `Metadata::validate`).
 * Four checks are stricter: the JSON must start with `{`, as the specification requires; a repeated name is an error; so is
 * a rank above 64; and the contents must fit into a fixed memory budget.
 */
import { isUtf8 } from 'node:buffer'
import { type Fault, fault } from '../../../core/diagnostics.js'
import { type Dtype, sameShape } from '../../../core/dtypes.js'
import { type Budget, type JsonReader, jsonReader } from '../../../core/json/reader.js'
import { didYouMean, quote } from '../../../core/suggest.js'
import { ENCODINGS, encodingOf, isDtype } from '../../../encodings/index.js'
import { HEADER_MEMORY } from '../allowance.js'
import type { ContainerTensor } from '../types.js'

/** Bytes of JSON, as in the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000
/** PyTorch's own limit. */
const MAX_RANK = 64
/** Memory per tensor in bytes, without its name and shape. */
const TENSOR_COST = 200
const DAMAGED = 'the file is damaged or incomplete: download it or write it again'

export interface Header {
  /** Bytes before the tensor data. */
  readonly headerBytes: number
  readonly metadata: Readonly<Record<string, string>>
  /** In the order of their data in the file. */
  readonly tensors: readonly ContainerTensor[]
}

/**
 * The length of the JSON, from the first 8 bytes of a file. It is checked before memory is allocated for it.
 * Errors: `header-too-small`, `header-too-large`, `header-length`.
 */
export function headerLength(first: Uint8Array, fileSize: number, fileName: string): number {
  if (first.byteLength < 8 || fileSize < 8)
    throw fault(
      'header-too-small',
      `${fileName}: too small for a safetensors file: ${fileSize} bytes, and a header takes at least 8`,
      DAMAGED,
    )
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(MAX_HEADER_BYTES))
    throw fault(
      'header-too-large',
      `${fileName}: the header claims ${length} bytes, but the format allows at most ${MAX_HEADER_BYTES}`,
      'not a safetensors file, or a damaged one',
    )
  if (8 + Number(length) > fileSize)
    throw fault(
      'header-length',
      `${fileName}: the header claims ${length} bytes, but the file has ${fileSize}`,
      DAMAGED,
    )
  return Number(length)
}

/**
 * Reads a header. `bytes` must contain the whole header; `fileName` is for messages.
 * Errors, in the order of the checks: those of `headerLength`, `header-not-utf8`, `header-start`; while reading the JSON
 * `header-json`, `header-memory`, `duplicate-key`, `bad-metadata`, `bad-tensor-entry`, `unknown-dtype`; for the places of tensors
 * `offsets-overlap`, `offsets-hole`, `offsets-reversed`, `shape-overflow`, `part-of-byte`, `size-mismatch`; and at the end
 * `file-incomplete`, `file-too-long`.
 */
export function parseHeader(
  bytes: Uint8Array,
  fileSize: number,
  fileName: string,
  budget: Budget = { left: HEADER_MEMORY },
): Header {
  const headerBytes = 8 + headerLength(bytes, fileSize, fileName)
  if (bytes.byteLength < headerBytes)
    throw fault('header-length', `${fileName}: the file ends inside its header, at byte ${bytes.byteLength}`, DAMAGED)
  if (!isUtf8(bytes.subarray(8, headerBytes)))
    throw fault('header-not-utf8', `${fileName}: the header is not UTF-8 text`, DAMAGED)
  if (bytes[8] !== 0x7b)
    throw fault(
      'header-start',
      `${fileName}: the header does not start with \`{\``,
      'not a safetensors file, or a damaged one',
    )
  const { metadata, entries } = readEntries(bytes.subarray(0, headerBytes), fileName, budget)
  return { headerBytes, metadata, tensors: place(entries, headerBytes, fileSize, fileName) }
}

interface Entry {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly begin: number
  readonly end: number
}

function readEntries(
  bytes: Uint8Array,
  fileName: string,
  budget: Budget,
): { metadata: Record<string, string>; entries: Entry[] } {
  // The tensor that is being read, for messages about wrong types.
  let tensor: string | undefined
  const whose = (): string => (tensor === undefined ? fileName : `${fileName}: tensor ${quote(tensor)}`)
  const charge = (cost: number): void => {
    budget.left -= cost
    if (budget.left < 0) throw tooMuch(fileName)
  }
  const json = jsonReader(bytes, 8, budget, (kind, message) => {
    if (kind === 'budget') throw tooMuch(fileName)
    if (kind === 'syntax') throw fault('header-json', `${fileName}: the header is not valid JSON: ${message}`, DAMAGED)
    throw fault(tensor === undefined ? 'bad-metadata' : 'bad-tensor-entry', `${whose()}: ${message}`, DAMAGED)
  })

  const entries = new Map<string, Entry>()
  const shapes = new Map<string, readonly number[]>()
  let last: readonly number[] = []
  /** Tensors of equal shape share one array: a million tensors have few different shapes. */
  const share = (shape: readonly number[]): readonly number[] => {
    if (sameShape(shape, last)) return last
    last = sharedShape(shape)
    return last
  }
  const sharedShape = (shape: readonly number[]): readonly number[] => {
    const key = shape.join()
    const known = shapes.get(key) ?? [...shape]
    shapes.set(key, known)
    return known
  }
  let metadata: Record<string, string> | undefined
  json.object('the header', (name) => {
    if (name === '__metadata__') {
      if (metadata) throw duplicate(fileName, name)
      metadata = readMetadata(json, fileName)
      return
    }
    if (entries.has(name)) throw duplicate(fileName, name)
    tensor = name
    charge(TENSOR_COST)
    entries.set(name, readEntry(json, name, whose, { charge, share }))
    tensor = undefined
  })
  json.end()
  return { metadata: metadata ?? {}, entries: [...entries.values()] }
}

function readMetadata(json: JsonReader, fileName: string): Record<string, string> {
  const pairs = new Map<string, string>()
  if (json.isNull()) return {}
  json.object('`__metadata__`', (key) => {
    if (pairs.has(key)) throw duplicate(`${fileName}: \`__metadata__\``, key)
    pairs.set(key, json.string(`\`__metadata__\`: the value of ${quote(key)}`))
  })
  // `fromEntries` defines properties, so `__proto__` is an ordinary key.
  return Object.fromEntries(pairs)
}

interface Keeping {
  readonly charge: (cost: number) => void
  readonly share: (shape: readonly number[]) => readonly number[]
}

function readEntry(json: JsonReader, name: string, whose: () => string, { charge, share }: Keeping): Entry {
  let dtype: Dtype | undefined
  let shape: number[] | undefined
  let offsets: number[] | undefined
  const numbers = (key: string, most: number): number[] => {
    const list: number[] = []
    json.array(`\`${key}\``, (index) => {
      if (index >= most)
        throw fault('bad-tensor-entry', `${whose()}: \`${key}\` has more than ${most} numbers`, DAMAGED)
      charge(8)
      list.push(json.natural(`\`${key}\``))
    })
    return list
  }
  json.object('its entry', (key) => {
    const known = key === 'dtype' ? dtype : key === 'shape' ? shape : key === 'data_offsets' ? offsets : undefined
    if (known !== undefined) throw duplicate(whose(), key)
    if (key === 'dtype') dtype = knownDtype(json.string('`dtype`'), whose)
    else if (key === 'shape') shape = numbers(key, MAX_RANK)
    else if (key === 'data_offsets') offsets = numbers(key, 2)
    else json.skip()
  })
  const missing =
    dtype === undefined ? 'dtype' : shape === undefined ? 'shape' : offsets === undefined ? 'data_offsets' : undefined
  if (missing) throw fault('bad-tensor-entry', `${whose()}: \`${missing}\` is missing`, DAMAGED)
  if (offsets!.length !== 2)
    throw fault('bad-tensor-entry', `${whose()}: \`data_offsets\` must be two numbers, not ${offsets!.length}`, DAMAGED)
  return { name, dtype: dtype!, shape: share(shape!), begin: offsets![0]!, end: offsets![1]! }
}

function knownDtype(name: string, whose: () => string): Dtype {
  if (isDtype(name)) return name
  throw fault(
    'unknown-dtype',
    `${whose()}: unknown dtype ${quote(name)}`,
    didYouMean(
      name,
      ENCODINGS.map(({ name }) => name),
    ),
  )
}

/** Places the tensors: each must start where the previous one ends, and the last must end with the file. */
function place(entries: Entry[], headerBytes: number, fileSize: number, fileName: string): ContainerTensor[] {
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end)
  let start = 0
  let before = ''
  const tensors = entries.map(({ name, dtype, shape, begin, end }): ContainerTensor => {
    const whose = (): string => `${fileName}: tensor ${quote(name)}`
    if (begin < start)
      throw fault(
        'offsets-overlap',
        `${whose()} begins at byte ${begin} of the data, inside ${quote(before)}, which ends at ${start}`,
        DAMAGED,
      )
    if (begin > start)
      throw fault(
        'offsets-hole',
        `${whose()} begins at byte ${begin} of the data, which leaves a gap from byte ${start}`,
        DAMAGED,
      )
    if (end < begin)
      throw fault(
        'offsets-reversed',
        `${whose()} ends at byte ${end} of the data, before it begins at ${begin}`,
        DAMAGED,
      )
    start = end
    before = name
    let { bits } = encodingOf(dtype)
    // As in the reference implementation, a product that overflows is an error even if a zero follows.
    let count = 1
    for (const size of shape) {
      count *= size
      if (!Number.isSafeInteger(count)) bits = Number.POSITIVE_INFINITY
    }
    bits *= count
    if (!Number.isSafeInteger(bits))
      throw fault('shape-overflow', `${whose()}: shape [${shape.join(', ')}] has more bits than 2⁵³`, DAMAGED)
    if (bits % 8 !== 0)
      throw fault(
        'part-of-byte',
        `${whose()}: ${dtype} of shape [${shape.join(', ')}] does not fill whole bytes`,
        DAMAGED,
      )
    if (end - begin !== bits / 8)
      throw fault(
        'size-mismatch',
        `${whose()}: ${dtype} of shape [${shape.join(', ')}] takes ${bits / 8} bytes, but its offsets say ${end - begin}`,
        DAMAGED,
      )
    return { name, dtype, shape, offset: headerBytes + begin, bytes: end - begin }
  })
  const wanted = headerBytes + start
  if (wanted > fileSize)
    throw fault(
      'file-incomplete',
      `${fileName}: the header describes ${wanted} bytes, but the file has ${fileSize}`,
      DAMAGED,
    )
  if (wanted < fileSize)
    throw fault(
      'file-too-long',
      `${fileName}: ${fileSize - wanted} bytes after the last tensor belong to no tensor`,
      DAMAGED,
    )
  return tensors
}

const duplicate = (whose: string, key: string): Fault =>
  fault(
    'duplicate-key',
    `${whose}: ${quote(key)} appears twice`,
    'it is unclear which one is meant: write the file again',
  )

const tooMuch = (fileName: string): Fault =>
  fault(
    'header-memory',
    `${fileName}: the header has names or strings that are too long, or more than ${HEADER_MEMORY / 2 ** 20} MiB of names, shapes and metadata`,
    'no real model needs this: the file is damaged or malicious',
  )
