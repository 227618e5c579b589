/** Finds how the units of several networks become those of one, and makes its tensors. */
import { sharedFloats } from '../../core/collections/sharedArrays.js'
import { rootGroups } from '../apply.js'
import type { ThreadTeam } from '../team/team.js'
import { createWeights, type Weights, type WeightsBudget } from '../weights.js'
import { likeness, matchUnits, pairUnits, type ZipItSettings, zipUnits } from './clusters.js'
import { addMapped } from './combine.js'
import { type Assigned, newLength, partsAt, placeMap, runOf, type ZipNetwork } from './network.js'
import { isReady, weightSimilarities } from './similarities.js'

export type ZipMethod = 'zipit' | 'pleas'

/** Similarities of a group's units, by a matrix that may be changed. */
export type Compare = (assigned: Assigned, group: string) => Promise<Float32Array>

export interface ZipResult {
  readonly assigned: Assigned
  /** By group: the mean similarity of units that became one. */
  readonly likeness: Readonly<Record<string, number>>
  readonly sweeps: number
}

export interface ZipOptions extends ZipItSettings {
  readonly method: ZipMethod
  readonly onProgress?: (progress: {
    readonly sweep: number
    readonly group: string
    readonly fraction: number
  }) => void
}

/** The groups whose units are merged, in the order of the spec. */
export const mergedGroups = (network: Pick<ZipNetwork, 'groups' | 'specs'>): string[] =>
  rootGroups(network.specs[0]!).filter((group) => network.groups[group]!.treatment !== 'keep')

async function assign(
  network: ZipNetwork,
  group: string,
  similarities: Float32Array,
  options: ZipOptions,
  team: ThreadTeam,
): Promise<{ readonly units: Int32Array; readonly likeness: number }> {
  const own = network.groups[group]!
  const kept = similarities.slice()
  const units =
    own.treatment === 'pair'
      ? await pairUnits(similarities, own, team)
      : options.method === 'pleas'
        ? await matchUnits(similarities, own, team)
        : zipUnits(similarities, own, options)
  return { units, likeness: likeness(kept, units) }
}

/** By activations: groups do not affect each other. */
export async function zipByActivations(
  network: ZipNetwork,
  compare: Compare,
  team: ThreadTeam,
  options: ZipOptions,
): Promise<ZipResult> {
  const groups = mergedGroups(network)
  const assigned: Record<string, Int32Array> = {}
  const alike: Record<string, number> = {}
  for (const [at, group] of groups.entries()) {
    const { units, likeness } = await assign(network, group, await compare(assigned, group), options, team)
    assigned[group] = units
    alike[group] = likeness
    options.onProgress?.({ sweep: 1, group, fraction: (at + 1) / groups.length })
  }
  return { assigned, likeness: alike, sweeps: 1 }
}

/** Sweeps by weights: the merged inputs and outputs of a group decide how its own units are compared. */
const MOST_SWEEPS = 10

/**
 * By weights. The first sweep starts with the group of which the most is known, such as the one after the inputs. Further
 * sweeps compare all weights, until nothing changes.
 */
export async function zipByWeights(
  network: ZipNetwork,
  team: ThreadTeam,
  options: ZipOptions,
  budget?: WeightsBudget,
): Promise<ZipResult> {
  const weights = network.models.map((model) => createWeights(model, budget))
  const groups = mergedGroups(network)
  let assigned: Record<string, Int32Array> = {}
  const alike: Record<string, number> = {}
  let sweeps = 0
  for (let changed = true; changed && sweeps < MOST_SWEEPS; sweeps++) {
    changed = false
    const open = new Set(groups)
    while (open.size > 0) {
      const group = sweeps === 0 ? nextGroup(network, assigned, open) : [...open][0]!
      open.delete(group)
      const similarities = await weightSimilarities(network, assigned, group, weights, team)
      const { units, likeness } = await assign(network, group, similarities, options, team)
      const before = assigned[group]
      changed ||= !before || before.some((unit, i) => unit !== units[i])
      assigned = { ...assigned, [group]: units }
      alike[group] = likeness
      const fraction = (sweeps + 1 - open.size / groups.length) / MOST_SWEEPS
      options.onProgress?.({ sweep: sweeps + 1, group, fraction })
    }
  }
  return { assigned, likeness: alike, sweeps }
}

/** The group with the largest share of elements whose other axes are known. */
function nextGroup(network: ZipNetwork, assigned: Assigned, open: ReadonlySet<string>): string {
  const shares = [...open].map((group) => {
    let [ready, all] = [0, 0]
    for (const part of network.specs[0]!.parts) {
      if (runOf(network, part)?.group !== group) continue
      const { shape } = network.models[0]!.tensors.get(part.tensor)!
      const size = shape.reduce((product, length) => product * length, 1)
      all += size
      if (isReady(network, assigned, part.tensor, part.axis)) ready += size
    }
    return { group, share: all === 0 ? 0 : ready / all }
  })
  return shares.reduce((best, one) => (one.share > best.share ? one : best)).group
}

/** By tensor and model: what a layer reads, instead of copies of merged units. */
export type Unmerge = (tensor: string, model: number) => Float32Array | undefined

/** A tensor of the result: Σ over models of M · W · U. */
export async function zippedTensor(
  network: ZipNetwork,
  assigned: Assigned,
  tensor: string,
  weights: readonly Weights[],
  unmerge: Unmerge,
  team: ThreadTeam,
): Promise<Float32Array> {
  const newShape = network.models[0]!.tensors.get(tensor)!.shape.map((old, axis) =>
    network.heads.has(tensor) && axis === 0
      ? placeMap(network, assigned, 0, tensor, 0)!.length
      : newLength(network, 0, tensor, axis, old),
  )
  const sum = new Float64Array(newShape.reduce((product, size) => product * size, 1))
  for (const [model, of] of weights.entries()) {
    let values = await of.get(tensor)
    let { shape } = network.models[model]!.tensors.get(tensor)!
    const maps = shape.map((_, axis) => placeMap(network, assigned, model, tensor, axis))
    const fitted = unmerge(tensor, model)
    const axis = fitted ? fittedAxis(network, tensor) : undefined
    if (fitted && axis !== undefined) {
      const found = await multiplied(network, values, shape, model, tensor, axis, fitted, team)
      values = found.values
      shape = found.shape
      maps[axis] = undefined
    }
    addMapped(sum, newShape, values, shape, maps)
    await team.pause()
  }
  const made = sharedFloats(sum.length)
  made.set(sum)
  return made
}

/** The axis of a layer's inputs, if one run of units fills it. */
export function fittedAxis(network: Omit<ZipNetwork, 'models'>, tensor: string): number | undefined {
  const axes = [0, 1].filter((axis) => {
    const [part, more] = partsAt(network.specs[0]!, tensor, axis)
    const out = Object.hasOwn(network.outAxes, tensor) ? network.outAxes[tensor]! : 0
    return axis !== out && part !== undefined && !more && part.offset === 0 && runOf(network, part) !== undefined
  })
  return axes[0]
}

/** The units of an axis, combined: W · U. */
async function multiplied(
  network: ZipNetwork,
  values: Float32Array,
  shape: readonly number[],
  model: number,
  tensor: string,
  axis: number,
  fitted: Float32Array,
  team: ThreadTeam,
): Promise<{ readonly values: Float32Array; readonly shape: readonly number[] }> {
  const [part] = partsAt(network.specs[model]!, tensor, axis)
  const { group, before, after } = runOf(network, part!)!
  const { sizes, width } = network.groups[group]!
  const product = (some: readonly number[]) => some.reduce((all, size) => all * size, 1)
  const [outer, inner, size] = [
    product(shape.slice(0, axis)) * before,
    product(shape.slice(axis + 1)) * after,
    sizes[model]!,
  ]
  // Rows of W: all places but the units'. Their result is [rows, width], and then in the order of the tensor.
  const units = Int32Array.from({ length: outer * inner }, (_, i) => Math.floor(i / inner) * size * inner + (i % inner))
  const c = sharedFloats(outer * inner * width)
  const rests = Int32Array.from({ length: size }, (_, i) => i * inner)
  const y = {
    data: fitted,
    units: Int32Array.from({ length: width }, (_, j) => j),
    rests: Int32Array.from({ length: size }, (_, i) => i * width),
  }
  await team.addProduct({ c, at: 0, stride: width, x: { data: values, units, rests }, y })
  const newShape = shape.map((length, other) => (other === axis ? before * width * after : length))
  if (inner === 1) return { values: c, shape: newShape }
  const turned = sharedFloats(c.length)
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++)
      for (let j = 0; j < width; j++) turned[(o * width + j) * inner + i] = c[(o * inner + i) * width + j]!
  return { values: turned, shape: newShape }
}
