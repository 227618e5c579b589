/** Folders as the hub lays them out, for tests of families of models. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { f32, numbers, type RawTensor, safetensors } from '../support/files.js'

/** Files by name: tensors become safetensors, other objects JSON. */
export type Files = Readonly<
  Record<string, string | Uint8Array | { readonly tensors: Readonly<Record<string, RawTensor>> } | object>
>

export function writeFolder(folder: string, files: Files): void {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, name)
    mkdirSync(path.dirname(file), { recursive: true })
    if (typeof content === 'string' || content instanceof Uint8Array) writeFileSync(file, content)
    else if ('tensors' in content) writeFileSync(file, safetensors(content.tensors as Record<string, RawTensor>))
    else writeFileSync(file, JSON.stringify(content))
  }
}

export const weights = (tensors: Readonly<Record<string, RawTensor>>) => ({ tensors })

/** A tensor of numbers that its seed decides. */
export const matrix = (seed: number, ...shape: readonly number[]): RawTensor =>
  f32(
    shape,
    numbers(
      shape.reduce((product, size) => product * size, 1),
      seed,
    ),
  )

/** A float32 tensor of a safetensors file. */
export function valuesOf(file: string, name: string): Float32Array {
  const bytes = readFileSync(file)
  const length = Number(bytes.readBigUInt64LE())
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length))
  const [from, to] = header[name].data_offsets
  return new Float32Array(Uint8Array.from(bytes.subarray(8 + length + from, 8 + length + to)).buffer)
}

export const jsonOf = (folder: string, name: string) => JSON.parse(readFileSync(path.join(folder, name), 'utf8'))
