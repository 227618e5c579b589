import { axisMaps, type Permutations } from './apply.js'
import { placesOf } from './places.js'
import { counts, type Spec } from './spec.js'
import type { ThreadTeam } from './team/team.js'
import { createWeights, rowLength, type TensorSource, type Weights, type WeightsBudget } from './weights.js'

/** The tensors that count in matching, each once. */
export const scored = (spec: Spec): string[] => [...new Set(spec.parts.filter(counts).map(({ tensor }) => tensor))]

export interface ScoreOptions {
  readonly team?: ThreadTeam
  /** Of each of the two. */
  readonly budget?: WeightsBudget
}

/** ⟨a, b permuted⟩ over some tensors, and of each tensor by itself. */
export interface Products {
  readonly sum: number
  readonly byTensor: ReadonlyMap<string, number>
}

/** Σ over the spec's tensors of ⟨a, b permuted⟩, each tensor once, in float64. A model's with itself is read once. */
export function matchingProducts(
  spec: Spec,
  a: TensorSource,
  b: TensorSource,
  perms: Permutations,
  { team, budget }: ScoreOptions = {},
): Promise<Products> {
  const left = createWeights(a, budget)
  return products(spec, left, a === b ? left : createWeights(b, budget), perms, scored(spec), team)
}

export const matchingScore = async (...of: Parameters<typeof matchingProducts>): Promise<number> =>
  (await matchingProducts(...of)).sum

/** The squares of a model over some tensors. */
export const squares = (weights: Weights, names: readonly string[], team?: ThreadTeam): Promise<Products> =>
  products({ groups: {}, parts: [], kept: {} }, weights, weights, {}, names, team)

export const similarity = async (...of: Parameters<typeof products>): Promise<number> => (await products(...of)).sum

/** In float64, added up in row-major order whatever is read at once. */
export async function products(
  spec: Spec,
  a: Weights,
  b: Weights,
  perms: Permutations,
  names: readonly string[],
  team?: ThreadTeam,
): Promise<Products> {
  let sum = 0
  const byTensor = new Map<string, number>()
  for (const name of names) {
    let own = 0
    const { shape } = a.source.tensors.get(name)!
    const maps = axisMaps(spec, perms, name, shape)
    const width = rowLength(shape)
    const [count, rowMap] = [shape[0] ?? 1, maps.find(({ axis }) => axis === 0)?.map]
    const inside = maps.some(({ axis }) => axis > 0) ? placesOf(shape.slice(1), maps, 1) : undefined
    const most = Math.max(1, Math.floor(Math.min(a.part, b.part) / Math.max(1, width)))
    for (let first = 0; first < count; first += most) {
      const rows = Int32Array.from({ length: Math.min(most, count - first) }, (_, i) => first + i)
      const left = await a.rows(name, rows)
      const right = await b.rows(name, rowMap ? rows.map((row) => rowMap[row]!) : rows)
      for (let i = 0; i < rows.length; i++) {
        const [x, y] = [left.starts[i]!, right.starts[i]!]
        for (let p = 0; p < width; p++) {
          const product = left.data[x + p]! * right.data[y + (inside ? inside[p]! : p)]!
          sum += product
          own += product
        }
      }
      left.release()
      right.release()
      await team?.pause()
    }
    byTensor.set(name, own)
  }
  return { sum, byTensor }
}
