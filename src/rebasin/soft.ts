import { identity, mapPart, type Permutations } from './apply.js'
import { createGrams, updateGrams } from './gram.js'
import type { Pool } from './pool.js'
import { type AxisPart, counts, rootOf, type Spec } from './spec.js'
import { createWeights, type TensorSource } from './weights.js'

/** Doubly stochastic matrices, size × size, by group: those of groups that have none inside. */
export type Soft = Readonly<Record<string, Float64Array>>

/** A tensor with every axis taken through its groups' matrices (or, for nested groups, permutations); but one axis part, if told. */
export function mix(
  spec: Spec,
  data: Float32Array,
  shape: readonly number[],
  tensor: string,
  soft: Soft,
  perms: Permutations,
  but?: AxisPart,
): Float32Array {
  let values = Float64Array.from(data)
  for (const part of spec.parts) {
    if (part.tensor !== tensor || part === but) continue
    const inner = shape.slice(part.axis + 1).reduce((product, n) => product * n, 1)
    const length = shape[part.axis]!
    const out = values.slice()
    const matrix = soft[rootOf(part)]
    const at = part.units.findIndex((unit) => typeof unit === 'string')
    const size = spec.groups[rootOf(part)]!.size
    const fast = part.units
      .slice(at + 1)
      .reduce<number>((product, unit) => product * (typeof unit === 'number' ? unit : 1), 1)
    const map = Int32Array.from({ length }, (_, i) => i)
    const rows = matrix ? sparseRows(matrix, size) : undefined
    if (!rows) mapPart(spec, part, perms, map)
    for (let base = 0; base < values.length; base += length * inner) {
      for (let i = part.offset; i < part.offset + part.length; i++) {
        const to = base + i * inner
        if (!rows) {
          const from = base + map[i]! * inner
          for (let p = 0; p < inner; p++) out[to + p] = values[from + p]!
          continue
        }
        const unit = Math.floor((i - part.offset) / fast) % size
        out.fill(0, to, to + inner)
        const { places, weights } = rows[unit]!
        for (let k = 0; k < places.length; k++) {
          const from = base + (i + (places[k]! - unit) * fast) * inner
          const weight = weights[k]!
          for (let p = 0; p < inner; p++) out[to + p] = out[to + p]! + weight * values[from + p]!
        }
      }
    }
    values = out
  }
  return Float32Array.from(values)
}

/** A mixture of few permutations has few numbers in a row. */
function sparseRows(matrix: Float64Array, size: number): { places: number[]; weights: number[] }[] {
  return Array.from({ length: size }, (_, unit) => {
    const places: number[] = []
    const weights: number[] = []
    for (let v = 0; v < size; v++) {
      const weight = matrix[unit * size + v]!
      if (weight === 0) continue
      places.push(v)
      weights.push(weight)
    }
    return { places, weights }
  })
}

/** ∂/∂X of Σ ⟨rest, W through X⟩ for one model's group: rest is the sum of the other models as they are mixed. */
export async function gradient(
  spec: Spec,
  group: string,
  rest: TensorSource,
  model: TensorSource,
  soft: Soft,
  perms: Permutations,
  pool: Pool,
): Promise<Float32Array> {
  const size = spec.groups[group]!.size
  const sum = new Float32Array(size * size)
  const left = createWeights(rest)
  for (const part of spec.parts) {
    if (rootOf(part) !== group || !counts(part)) continue
    const alone: Spec = { groups: { [group]: spec.groups[group]! }, parts: [part], kept: {} }
    const right = createWeights({
      tensors: model.tensors,
      read: async (name) => mix(spec, await model.read(name), model.tensors.get(name)!.shape, name, soft, perms, part),
    })
    const grams = createGrams(alone, group, model.tensors)
    await updateGrams(alone, grams, left, right, identity(alone), pool)
    for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + grams[0]!.values[i]!
  }
  return sum
}
