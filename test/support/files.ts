/** Small checkpoints for tests, written without terge's own writer. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

export interface RawTensor {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

export const f32 = (shape: readonly number[], values: ArrayLike<number>): RawTensor => ({
  dtype: 'F32',
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
})

export const i64 = (shape: readonly number[], values: readonly bigint[]): RawTensor => ({
  dtype: 'I64',
  shape,
  bytes: new Uint8Array(BigInt64Array.from(values).buffer),
})

export const raw = (dtype: string, shape: readonly number[], bytes: readonly number[]): RawTensor => ({
  dtype,
  shape,
  bytes: Uint8Array.from(bytes),
})

/** The bytes of a safetensors file, tensors in the order given. */
export function safetensors(
  tensors: Readonly<Record<string, RawTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Buffer {
  let offset = 0
  const header: Record<string, unknown> = { __metadata__: { format: 'pt', ...metadata } }
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] }
    offset += bytes.length
  }
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([length, text, ...Object.values(tensors).map(({ bytes }) => bytes)])
}

export const writeModel = (
  file: string,
  tensors: Readonly<Record<string, RawTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): void => writeFileSync(file, safetensors(tensors, metadata))

/** The tensors of a safetensors file. */
export function tensorsIn(file: Buffer): Record<string, RawTensor> {
  const start = 8 + Number(file.readBigUInt64LE())
  const header = JSON.parse(file.toString('utf8', 8, start))
  delete header.__metadata__
  const entries = Object.entries(header as Record<string, { dtype: string; shape: number[]; data_offsets: number[] }>)
  return Object.fromEntries(
    entries.map(([name, { dtype, shape, data_offsets: at }]) => [
      name,
      { dtype, shape, bytes: Uint8Array.from(file.subarray(start + at[0]!, start + at[1]!)) },
    ]),
  )
}

/** All tensors of a model's folder. */
export const tensorsOf = (folder: string): Record<string, RawTensor> =>
  Object.assign(
    {},
    ...readdirSync(folder)
      .filter((name) => name.endsWith('.safetensors'))
      .map((name) => tensorsIn(readFileSync(path.join(folder, name)))),
  )

/** Values that are the same on every run: a small linear congruential generator, in (−1, 1). */
export function numbers(count: number, seed: number): Float32Array {
  let state = (seed * 2654435761 + 1) >>> 0
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state / 2 ** 32) * 2 - 1
  })
}

/** An F32 tensor of `numbers`. */
export const random = (shape: readonly number[], seed: number): RawTensor =>
  f32(
    shape,
    numbers(
      shape.reduce((all, size) => all * size, 1),
      seed,
    ),
  )

/** The elements of an F32 tensor. */
export const f32Of = ({ bytes }: RawTensor): Float32Array =>
  new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)

/** float32 numbers as BF16, cut off: which numbers they are does not matter. */
export const bf16 = (shape: readonly number[], values: Float32Array): RawTensor => ({
  dtype: 'BF16',
  shape,
  bytes: new Uint8Array(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer),
})

/** A folder that is gone when the work is done. */
export async function inFolder<T>(work: (folder: string) => Promise<T> | T): Promise<T> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-test-'))
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
