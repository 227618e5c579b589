/**
 * A safetensors header as it is written. Canonical: the same tensors and metadata give the same header, in the order that the
 * reference implementation writes (huggingface/safetensors, `prepare`): metadata, then tensors by dtype, wider first, then by
 * name; filled up with spaces to 8 bytes.
 */
import { Buffer } from 'node:buffer'
import { fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { ENCODINGS } from '../../../encodings/index.js'
import { compareNames, jsonText } from '../../canonicalJson.js'
import type { ContainerWriter } from '../types.js'
import { MAX_HEADER_BYTES } from './header.js'

/** The order in which the reference implementation's dtypes stand, by alignment: that of `ENCODINGS`. */
const RANK = new Map(ENCODINGS.map(({ name }, rank) => [name, rank]))

/** Bytes that a tensor's entry takes at most, beside its name and shape. */
const ENTRY_BYTES = 100
/** Members of a header that are joined to one text: a million small texts take several times the memory. */
const JOINED = 1000

export const writer: ContainerWriter = {
  mostHeaderBytes: MAX_HEADER_BYTES,
  compare: (a, b) => RANK.get(b.dtype)! - RANK.get(a.dtype)! || compareNames(a.name, b.name),
  entryBytes: ({ name, shape }) => ENTRY_BYTES + Buffer.byteLength(JSON.stringify(name)) + 17 * shape.length,
  header(tensors, metadata, fileName) {
    const pairs = new Map([['format', 'pt'], ...Object.entries(metadata)])
    const texts = [...pairs]
      .sort(([a], [b]) => compareNames(a, b))
      .map(([key, value]) => `${jsonText(key)}:${jsonText(value)}`)
    const members = [`"__metadata__":{${texts.join(',')}}`]
    const joined: string[] = []
    const seen = new Set(['__metadata__'])
    let begin = 0
    for (const { name, dtype, shape, bytes } of tensors) {
      if (seen.has(name))
        throw fault(
          'bad-name',
          `${fileName}: two tensors are to be called ${quote(name)}`,
          'change rename or the slices so that each tensor has its own name',
        )
      seen.add(name)
      const end = begin + bytes
      members.push(
        `${jsonText(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${begin},${end}]}`,
      )
      begin = end
      if (members.length === JOINED) joined.push(members.splice(0).join(','))
    }
    const json = `{${[...joined, ...members].join(',')}}`
    const used = Buffer.byteLength(json)
    const length = Math.ceil(used / 8) * 8
    if (length > MAX_HEADER_BYTES)
      throw fault(
        'header-too-large',
        `${fileName}: a header of ${length} bytes, the format allows ${MAX_HEADER_BYTES}`,
        'write a folder with a smaller shard_size',
      )
    return { text: json + ' '.repeat(length - used), bytes: 8 + length }
  },
  encode(text) {
    const length = Buffer.byteLength(text)
    const bytes = new Uint8Array(8 + length)
    new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true)
    new TextEncoder().encodeInto(text, bytes.subarray(8))
    return bytes
  },
}
