/**
 * Parses large lineages tensor by tensor. As one value, the text of a million tensors and its parsed form would need several times
 * the memory of the lineage.
 */
import { Buffer, isUtf8 } from 'node:buffer'
import { sharer } from '../core/collections/share.js'
import { type JsonReader, jsonReader } from '../core/json/reader.js'
import type { LineageSource, LineageTensor } from './types.js'

/** A JSON object whose members are parsed one after another. */
export class Members {
  constructor(private readonly bytes: Uint8Array) {}

  /** The members in the order of the text. `read` converts each parsed value. */
  *each<T>(read: (value: unknown, key: string) => T): Generator<readonly [string, T]> {
    // The reader calls back for each member: so many are collected before they are yielded.
    const found: (readonly [string, T])[] = []
    const json = readerOf(this.bytes)
    json.object('tensors', (key) => found.push([key, read(parsed(json.raw()), key)]))
    yield* found
  }
}

const readerOf = (bytes: Uint8Array): JsonReader =>
  jsonReader(bytes, 0, { left: Number.POSITIVE_INFINITY }, (_, message) => {
    throw new SyntaxError(message)
  })

/** Of JSON. */
const SPACES: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d])

const parsed = (bytes: Uint8Array): unknown =>
  JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))

/**
 * The same value as `JSON.parse`, but with `Members` in place of the tensors. Throws `SyntaxError` for text that is not
 * JSON.
 */
export function lineageValue(bytes: Uint8Array): unknown {
  if (!isUtf8(bytes)) throw new SyntaxError('not UTF-8')
  const start = bytes.findIndex((byte) => !SPACES.has(byte))
  if (bytes[start] !== 0x7b) return parsed(bytes)
  const json = readerOf(bytes)
  const members: [string, unknown][] = []
  json.object('the lineage', (key) => {
    const text = json.raw()
    members.push([key, key === 'tensors' && text[0] === 0x7b ? new Members(text) : parsed(text)])
  })
  json.end()
  return Object.fromEntries(members)
}

/** Makes tensors share equal values in memory: parameters, shapes and names. */
export function sharing(): (name: string, tensor: LineageTensor) => LineageTensor {
  const share = sharer()
  return (name, tensor) => {
    const own = (source: LineageSource): LineageSource =>
      source.tensor === name ? { ...source, tensor: name } : source
    return {
      ...tensor,
      parameters: share(tensor.parameters),
      shape: share(tensor.shape),
      sources: tensor.sources.map(own),
      ...(tensor.base ? { base: own(tensor.base) } : {}),
    }
  }
}
