// A safetensors file again as `torch.save` writes it: a zip archive, nothing in it compressed, each storage at a multiple of 64 bytes.
import { Buffer } from 'node:buffer'
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { crc32 } from 'node:zlib'

const ALIGN = 64
/** torch's names of storages, by the dtypes that our models have. */
const STORAGES = { BF16: ['BFloat16Storage', 2], F32: ['FloatStorage', 4] }

const text = (value) => {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length)
  return Buffer.concat([Buffer.from('X'), length, bytes])
}
const int = (value) => {
  const bytes = Buffer.alloc(10)
  bytes[0] = 0x8a
  bytes[1] = 8
  bytes.writeBigInt64LE(BigInt(value), 2)
  return bytes
}
const tuple = (...items) => Buffer.concat([Buffer.from('('), ...items, Buffer.from('t')])
const global = (module, name) => Buffer.from(`c${module}\n${name}\n`)

function pickle(tensors) {
  const entries = tensors.map(({ name, dtype, shape, count }, key) => {
    const storage = tuple(
      text('storage'),
      global('torch', STORAGES[dtype][0]),
      text(String(key)),
      text('cpu'),
      int(count),
    )
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1))
    const rebuild = global('torch._utils', '_rebuild_tensor_v2')
    const hooks = Buffer.from('}')
    const values = [storage, Buffer.from('Q'), int(0), tuple(...shape.map(int)), tuple(...strides.map(int))]
    return [text(name), rebuild, tuple(...values, Buffer.of(0x89), hooks), Buffer.from('R')]
  })
  return Buffer.concat([Buffer.of(0x80, 2), Buffer.from('}('), ...entries.flat(), Buffer.from('u.')])
}

/** `source` is one of `makeModels`; files of 4 GiB and more would need another form of the archive. */
export function writePytorch(source, target) {
  const input = openSync(source, 'r')
  const read = (length, at) => {
    const bytes = Buffer.alloc(length)
    readSync(input, bytes, 0, length, at)
    return bytes
  }
  const header = Number(read(8, 0).readBigUInt64LE())
  const tensors = Object.entries(JSON.parse(read(header, 8)))
    .filter(([name]) => name !== '__metadata__')
    .map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        return { name, dtype, shape, at: 8 + header + from, bytes: to - from, count: (to - from) / STORAGES[dtype][1] }
      },
    )
  const output = openSync(target, 'w')
  const directory = []
  let at = 0
  const put = (bytes) => {
    writeSync(output, bytes)
    at += bytes.length
  }
  const add = (name, data) => {
    const start = at
    const fields = Buffer.alloc(30)
    const sum = crc32(data)
    const padding = (ALIGN - ((at + 30 + name.length + 4) % ALIGN)) % ALIGN
    fields.writeUInt32LE(0x04034b50)
    fields.writeUInt32LE(sum, 14)
    fields.writeUInt32LE(data.length, 18)
    fields.writeUInt32LE(data.length, 22)
    fields.writeUInt16LE(name.length, 26)
    fields.writeUInt16LE(padding + 4, 28)
    const extra = Buffer.alloc(padding + 4, 'Z')
    extra.write('FB')
    extra.writeUInt16LE(padding, 2)
    put(Buffer.concat([fields, Buffer.from(name), extra]))
    put(data)
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50)
    entry.writeUInt32LE(sum, 16)
    entry.writeUInt32LE(data.length, 20)
    entry.writeUInt32LE(data.length, 24)
    entry.writeUInt16LE(name.length, 28)
    entry.writeUInt32LE(start, 42)
    directory.push(entry, Buffer.from(name))
  }
  add('model/data.pkl', pickle(tensors))
  for (const [key, { at: from, bytes }] of tensors.entries()) add(`model/data/${key}`, read(bytes, from))
  add('model/version', Buffer.from('3\n'))
  const central = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50)
  end.writeUInt16LE(directory.length / 2, 8)
  end.writeUInt16LE(directory.length / 2, 10)
  end.writeUInt32LE(central.length, 12)
  end.writeUInt32LE(at, 16)
  put(central)
  put(end)
  closeSync(input)
  closeSync(output)
}
