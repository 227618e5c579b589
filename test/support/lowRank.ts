/** What an adapter changes, computed here from its files in float64. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { inspect } from '../../src/index.js'

export interface Dense {
  readonly rows: number
  readonly columns: number
  readonly values: Float64Array
}

/** A file's tensors as float64, by name. Only F32, F64 and BF16. */
export async function tensorsOf(
  file: string,
): Promise<Map<string, { shape: readonly number[]; values: Float64Array }>> {
  const { stored, files } = await inspect(file)
  const content = readFileSync(files[0]!.path)
  return new Map(
    [...stored].map(([name, { offset, bytes, shape, dtype }]) => {
      const own = content.buffer.slice(content.byteOffset + offset, content.byteOffset + offset + bytes)
      const wide = (words: Uint16Array) => new Float32Array(Uint32Array.from(words, (word) => word << 16).buffer)
      const values =
        dtype === 'F64' ? new Float64Array(own) : dtype === 'BF16' ? wide(new Uint16Array(own)) : new Float32Array(own)
      return [name, { shape, values: Float64Array.from(values) }] as const
    }),
  )
}

interface Config {
  readonly r: number
  readonly lora_alpha: number
  readonly use_rslora?: boolean
  readonly rank_pattern?: Readonly<Record<string, number>>
  readonly alpha_pattern?: Readonly<Record<string, number>>
}

const product = (b: Float64Array, a: Float64Array, rank: number, scale: number): Dense => {
  const [rows, columns] = [b.length / rank, a.length / rank]
  const values = new Float64Array(rows * columns)
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < rank; k++)
      for (let j = 0; j < columns; j++) values[i * columns + j]! += scale * b[i * rank + k]! * a[k * columns + j]!
  return { rows, columns, values }
}

interface Stored {
  readonly shape: readonly number[]
  readonly values: Float64Array
}

/** One change per expert, under each other: rows of A by expert, columns of B by rank and then by expert. */
function ofExperts(a: Stored, b: Stored, rank: number, scale: number): Dense {
  const [experts, columns, rows] = [a.shape[0]! / rank, a.shape[1]!, b.shape[0]!]
  const each = Array.from({ length: experts }, (_, expert) => {
    const ownB = Float64Array.from({ length: rows * rank }, (_, i) => {
      return b.values[Math.floor(i / rank) * rank * experts + (i % rank) * experts + expert]!
    })
    return product(ownB, a.values.subarray(expert * rank * columns, (expert + 1) * rank * columns), rank, scale).values
  })
  return { rows: experts * rows, columns, values: Float64Array.from(each.flatMap((values) => [...values])) }
}

/** By module. Convolutions are matrices [out, in · kernel]; embeddings [rows, dim]. */
export async function changesOf(folder: string): Promise<Map<string, Dense>> {
  const config = JSON.parse(readFileSync(path.join(folder, 'adapter_config.json'), 'utf8')) as Config
  const tensors = await tensorsOf(folder)
  const changes = new Map<string, Dense>()
  const valueFor = (patterns: Readonly<Record<string, number>> | undefined, module: string): number | undefined =>
    Object.entries(patterns ?? {}).find(([pattern]) => new RegExp(`^(.*\\.)?(${pattern})$`).test(module))?.[1]
  for (const [name, a] of tensors) {
    const [, stored, embedding] = /^(.+)\.(?:lora_A\.weight|(lora_embedding_A))$/.exec(name) ?? []
    if (stored === undefined) continue
    const module = stored.replace('base_model.model.', '')
    const b = tensors.get(embedding ? `${stored}.lora_embedding_B` : `${stored}.lora_B.weight`)!
    const rank = valueFor(config.rank_pattern, module) ?? config.r
    const alpha = valueFor(config.alpha_pattern, module) ?? config.lora_alpha
    const scale = alpha / (config.use_rslora ? Math.sqrt(rank) : rank)
    if (/\.experts(\.base_layer)?$/.test(module)) {
      const parameter = module.endsWith('.base_layer') ? 'gate_up_proj' : 'down_proj'
      changes.set(`${module.replace('.base_layer', '')}.${parameter}`, ofExperts(a, b, rank, scale))
      continue
    }
    const own = product(b.values, a.values, rank, scale)
    changes.set(module, embedding ? transposed(own) : own)
  }
  return changes
}

export const transposed = ({ rows, columns, values }: Dense): Dense => ({
  rows: columns,
  columns: rows,
  values: Float64Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!),
})

/** ‖a − b‖ / ‖b‖. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0]
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    difference += (a[i]! - b[i]!) ** 2
    norm += b[i]! ** 2
  }
  return Math.sqrt(difference / norm)
}
