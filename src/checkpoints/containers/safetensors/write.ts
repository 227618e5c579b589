/**
 * Writes safetensors headers. They are canonical: the same tensors and metadata give the same bytes. The order is that of the
 * reference implementation (huggingface/safetensors, `prepare`): metadata, then tensors by dtype (wider first), then by name.
 * Spaces pad the header to a multiple of 8 bytes.
 */
import { Buffer } from 'node:buffer'
import { fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { ENCODINGS } from '../../../encodings/index.js'
import { compareNames, jsonText } from '../../canonicalJson.js'
import type { ContainerWriter } from '../types.js'
import { MAX_HEADER_BYTES } from './header.js'

/** The reference implementation's order of dtypes, by alignment: the order of `ENCODINGS`. */
const RANK = new Map(ENCODINGS.map(({ name }, rank) => [name, rank]))

/** Maximum bytes of a tensor's entry, without its name and shape. */
const ENTRY_BYTES = 100
/** Header members that are joined into one string at a time: a million small strings would take several times the memory. */
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
          `${fileName}: two tensors would have the name ${quote(name)}`,
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
        `${fileName}: the header would take ${length} bytes, but the format allows at most ${MAX_HEADER_BYTES}`,
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
