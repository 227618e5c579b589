/** PEFT adapters for tests, and what must come out of applying them: plain loops in float64. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { bf16, f32, numbers, type RawTensor, safetensors } from './files.js'

export interface Matrix {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

/** Numbers from a seed; with `short` such as BF16 holds exactly. */
export function matrix(shape: readonly number[], seed: number, short = false): Matrix {
  const values = numbers(
    shape.reduce((product, size) => product * size, 1),
    seed,
  )
  const bits = new Uint32Array(values.buffer)
  if (short) bits.set(bits.map((word) => word & 0xffff0000))
  return { shape, values }
}

export const stored = ({ shape, values }: Matrix, dtype: 'F32' | 'BF16' = 'F32'): RawTensor =>
  dtype === 'F32' ? f32(shape, values) : bf16(shape, values)

/** W + scale · B·A as PEFT merges it; `turned`: the update is stored as [inputs, outputs]. */
export function merged(weight: Matrix, a: Matrix, b: Matrix, scale: number, turned = false): Float64Array {
  const rank = a.shape[0]!
  const inputs = a.values.length / rank
  const outputs = b.values.length / rank
  const out = Float64Array.from(weight.values)
  for (let o = 0; o < outputs; o++)
    for (let i = 0; i < inputs; i++) {
      let sum = 0
      for (let k = 0; k < rank; k++) sum += b.values[o * rank + k]! * a.values[k * inputs + i]!
      out[turned ? i * outputs + o : o * inputs + i]! += scale * sum
    }
  return out
}

/** An adapter's folder: weights under the names given, and its configuration. */
export function writeAdapter(
  folder: string,
  tensors: Readonly<Record<string, RawTensor>>,
  config: Readonly<Record<string, unknown>>,
): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'adapter_model.safetensors'), safetensors(tensors))
  writeFileSync(path.join(folder, 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', ...config }))
}
