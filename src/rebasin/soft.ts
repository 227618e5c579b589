/** Applies doubly stochastic matrices, instead of permutations, to tensors. */
import { sharedCopy, sharedFloats, sharedInts } from '../core/collections/sharedArrays.js'
import { byRows, type Operand, productInto } from '../kernels/linalg.js'
import { axisMaps, gather, type Permutations } from './apply.js'
import { type AxisPart, counts, rootOf, type Spec } from './spec.js'
import type { ThreadTeam } from './team/team.js'
import type { TensorSource } from './weights.js'

/** Doubly stochastic matrices, size × size, by group: those of groups that have none inside. */
export type Soft = Readonly<Record<string, Float32Array>>

/** A tensor that soft matrices act on: its part on each axis as a matrix, the group's units by everything else. */
export interface SoftTensor {
  readonly name: string
  /** How many axes have parts. */
  readonly axes: number
  readonly parts: readonly {
    readonly group: string
    readonly units: Int32Array
    readonly rests: Int32Array
  }[]
}

/** The tensors that count in matching, and how these groups act on them. */
export function softTensors(spec: Spec, groups: readonly string[], shapes: TensorSource['tensors']): SoftTensor[] {
  const names = [...new Set(spec.parts.filter(counts).map(({ tensor }) => tensor))]
  return names.map((name) => {
    const parts = spec.parts.filter((part) => part.tensor === name && groups.includes(rootOf(part)))
    return {
      name,
      axes: new Set(parts.map(({ axis }) => axis)).size,
      parts: parts.map((part) => ({ group: rootOf(part), ...unfolded(spec, part, shapes.get(name)!.shape) })),
    }
  })
}

/** Places of a part's units, and of all that lies at one unit. */
function unfolded(spec: Spec, part: AxisPart, shape: readonly number[]): { units: Int32Array; rests: Int32Array } {
  const stride = (axis: number) => shape.slice(axis + 1).reduce((product, n) => product * n, 1)
  let units = new Int32Array(0)
  let rests = new Int32Array(1).fill(part.offset * stride(part.axis))
  const beside = (count: number, step: number) => {
    const next = new Int32Array(rests.length * count)
    for (let i = 0, at = 0; i < rests.length; i++) for (let j = 0; j < count; j++) next[at++] = rests[i]! + j * step
    rests = next
  }
  for (const [axis, length] of shape.entries()) {
    if (axis !== part.axis) {
      beside(length, stride(axis))
      continue
    }
    const sizes = part.units.map((unit) => (typeof unit === 'number' ? unit : spec.groups[unit]!.size))
    for (const [k, unit] of part.units.entries()) {
      const step = sizes.slice(k + 1).reduce((product, n) => product * n, 1) * stride(axis)
      if (typeof unit === 'number') beside(unit, step)
      else units = Int32Array.from({ length: sizes[k]! }, (_, i) => i * step)
    }
  }
  return { units: shared(units), rests: shared(rests) }
}

function shared(places: Int32Array): Int32Array {
  const copy = sharedInts(places.length)
  copy.set(places)
  return copy
}

/** A model's tensors with the parts of some groups permuted. */
export async function permuted(
  spec: Spec,
  moves: (group: string) => boolean,
  perms: Permutations,
  tensors: readonly SoftTensor[],
  shapes: TensorSource['tensors'],
  read: TensorSource['read'],
): Promise<Map<string, Float32Array>> {
  const some: Spec = { ...spec, parts: spec.parts.filter((part) => moves(rootOf(part))) }
  const values = new Map<string, Float32Array>()
  for (const { name } of tensors) {
    const { shape } = shapes.get(name)!
    values.set(name, sharedCopy(gather(await read(name), shape, axisMaps(some, perms, name, shape))))
  }
  return values
}

/** A tensor with every part taken through its group's matrix; but one part, if told. */
export async function mix(
  { parts }: SoftTensor,
  values: Float32Array,
  soft: Soft,
  team: ThreadTeam,
  but?: SoftTensor['parts'][number],
): Promise<Float32Array> {
  let mixed = values
  for (const part of parts) {
    if (part === but) continue
    const { group, units, rests } = part
    const turned = sharedFloats(units.length * rests.length)
    const stored: Operand = { data: mixed, units: rests, rests: units }
    await team.addProduct(productInto(turned, byRows(soft[group]!, units.length, units.length), stored))
    // Places of no unit of the part stay as they are.
    const next = sharedFloats(mixed.length)
    if (turned.length < mixed.length) next.set(mixed)
    for (let i = 0, at = 0; i < units.length; i++)
      for (let j = 0, unit = units[i]!; j < rests.length; j++) next[unit + rests[j]!] = turned[at++]!
    mixed = next
  }
  return mixed
}

/**
 * ∂/∂X of Σ ⟨rest, W through X⟩ for each of one model's groups: `rest` is the sum of the other models as they are mixed, `own` the
 * model as it was prepared.
 */
export async function gradients(
  tensors: readonly SoftTensor[],
  rest: (name: string) => Float32Array,
  own: ReadonlyMap<string, Float32Array>,
  soft: Soft,
  team: ThreadTeam,
): Promise<Soft> {
  const slopes: Record<string, Float32Array> = {}
  for (const [group, { length }] of Object.entries(soft)) slopes[group] = sharedFloats(length)
  for (const tensor of tensors) {
    const others = rest(tensor.name)
    for (const part of tensor.parts) {
      const { group, units, rests } = part
      const mixed = await mix(tensor, own.get(tensor.name)!, soft, team, part)
      await team.addProduct(productInto(slopes[group]!, { data: others, units, rests }, { data: mixed, units, rests }))
    }
  }
  return slopes
}
