/** Units that do not vary have no correlation with any other: their weights decide. */
import { type Permutations, rootGroups } from '../apply.js'
import { createGrams, gramLength, gramSide, updateGrams } from '../gram.js'
import { rootOf, type Spec } from '../spec.js'
import type { ThreadTeam } from '../team/team.js'
import { createWeights, type TensorSource, type WeightsBudget } from '../weights.js'

type Still = ReadonlyMap<string, Uint8Array>

/**
 * Matches, by weights, those units of each group that vary in neither model among each other. Groups with others inside
 * keep what was found.
 */
export async function matchStill(
  spec: Spec,
  measured: Spec,
  found: Permutations,
  still: { readonly a: Still; readonly b: Still },
  weights: { readonly a: TensorSource; readonly b: TensorSource },
  team: ThreadTeam,
  budget?: WeightsBudget,
): Promise<Permutations> {
  const [a, b] = [createWeights(weights.a, budget), createWeights(weights.b, budget)]
  let perms = found
  for (const group of rootGroups(spec)) {
    if (Object.values(spec.groups).some(({ inside }) => inside === group)) continue
    const { size } = spec.groups[group]!
    const [stillA, stillB] = [stillUnits(measured, group, size, still.a), stillUnits(measured, group, size, still.b)]
    const units = [...perms[group]!.keys()].filter((i) => stillA[i] === 1 && stillB[perms[group]![i]!] === 1)
    if (units.length < 2) continue
    const room = team.room(gramLength(spec, group), gramSide(spec, group))
    const [gram] = createGrams(spec, group, a.source.tensors, room)
    await updateGrams(spec, [gram!], a, b, perms, team)
    const partners = units.map((i) => perms[group]![i]!)
    const scores = new Float32Array(units.length ** 2)
    for (const [p, i] of units.entries())
      for (const [q, j] of partners.entries()) scores[p * units.length + q] = gram!.values[i * size + j]!
    const { columns } = team.linalg.assign(scores, units.length)
    const own = perms[group]!.slice()
    for (const [p, i] of units.entries()) own[i] = partners[columns[p]!]!
    perms = { ...perms, [group]: own }
    await team.pause()
  }
  return perms
}

/** 1 for units of a group that vary nowhere. A group without activations has none. */
function stillUnits(measured: Spec, group: string, size: number, still: Still): Uint8Array {
  const parts = measured.parts.filter((part) => rootOf(part) === group)
  const units = new Uint8Array(size).fill(parts.length > 0 ? 1 : 0)
  for (const { tensor, units: of, length } of parts) {
    const at = of.indexOf(group)
    const sizes = of.map((unit) => (typeof unit === 'number' ? unit : measured.groups[unit]!.size))
    const stride = sizes.slice(at + 1).reduce((product, n) => product * n, 1)
    const places = still.get(tensor)!
    for (let place = 0; place < length; place++) if (places[place] === 0) units[Math.floor(place / stride) % size] = 0
  }
  return units
}
