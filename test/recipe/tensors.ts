/** A simple reader and writer of safetensors, for tests of whole runs. */
import { readFileSync, writeFileSync } from 'node:fs'

export interface Tensor {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly values: readonly number[]
}

export function readTensors(file: string): Map<string, Tensor> {
  const bytes = readFileSync(file)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  const found = new Map<string, Tensor>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const { dtype, shape, data_offsets: offsets } = entry
    const [from, to] = offsets
    const data = bytes.subarray(start + from, start + to)
    const values =
      dtype === 'BF16'
        ? Array.from({ length: data.length / 2 }, (_, i) => bfloat(data.readUInt16LE(2 * i)))
        : Array.from({ length: data.length / 4 }, (_, i) => data.readFloatLE(4 * i))
    found.set(name, { dtype, shape, values })
  }
  return found
}

const word = new DataView(new ArrayBuffer(4))

function bfloat(bits: number): number {
  word.setUint32(0, bits * 65536)
  return word.getFloat32(0)
}

/** float32 vectors, by name. */
export function writeTensors(file: string, tensors: Readonly<Record<string, readonly number[]>>): void {
  let end = 0
  const header: Record<string, unknown> = {}
  for (const [name, values] of Object.entries(tensors)) {
    header[name] = { dtype: 'F32', shape: [values.length], data_offsets: [end, end + 4 * values.length] }
    end += 4 * values.length
  }
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const data = Buffer.from(new Float32Array(Object.values(tensors).flat()).buffer)
  writeFileSync(file, Buffer.concat([length, text, data]))
}
