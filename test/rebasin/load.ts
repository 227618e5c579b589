import { readFileSync } from 'node:fs'
import type { TensorSource } from '../../src/rebasin/weights.js'

export interface Tensor {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly values: Float32Array
}
export type Model = Map<string, Tensor>

/** Reads a safetensors file of F32, BF16, U8 and I64 tensors as float32. Trusts it: for our own fixtures. */
export function loadModel(...files: string[]): Model {
  const model: Model = new Map()
  for (const file of files) {
    const bytes = readFileSync(file)
    const length = Number(bytes.readBigUInt64LE(0))
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >
    for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
      if (name === '__metadata__') continue
      const data = bytes.subarray(8 + length + data_offsets[0], 8 + length + data_offsets[1])
      const count = shape.reduce((product, n) => product * n, 1)
      const values = new Float32Array(count)
      const bits = new Uint32Array(values.buffer)
      for (let i = 0; i < count; i++) {
        if (dtype === 'F32') values[i] = data.readFloatLE(i * 4)
        else if (dtype === 'BF16') bits[i] = data.readUInt16LE(i * 2) << 16
        else if (dtype === 'U8') values[i] = data[i]!
        else if (dtype === 'I64') values[i] = Number(data.readBigInt64LE(i * 8))
      }
      model.set(name, { dtype, shape, values })
    }
  }
  return new Map([...model].sort(([x], [y]) => (x < y ? -1 : 1)))
}

export const sourceOf = (model: Model, config?: Record<string, unknown>): TensorSource => ({
  tensors: model,
  read: (name) => model.get(name)!.values,
  ...(config ? { config } : {}),
})
