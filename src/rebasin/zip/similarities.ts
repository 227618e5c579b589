/** Similarities of all units of a group: cosines of their weights, or correlations of their activations. */
import { sharedFloats } from '../../core/collections/sharedArrays.js'
import { rowMajor } from '../../views/places.js'
import { outerSum } from '../places.js'
import { counts, type Spec } from '../spec.js'
import type { ThreadTeam } from '../team/team.js'
import type { Weights } from '../weights.js'
import { addMapped } from './combine.js'
import { type Assigned, firstUnit, type PlaceMap, placeMap, runOf, unitsOf, type ZipNetwork } from './network.js'

/** Samples are added in blocks of so many, so that memory decides nothing. */
export const BLOCK = 256

const range = (count: number, step: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i * step)

/** The units of a part, along its axis, and the other places of its run. */
export function unitPlaces(
  { before, after }: { readonly before: number; readonly after: number },
  size: number,
  stride: number,
): { readonly units: Int32Array; readonly others: Int32Array } {
  return {
    units: range(size, after * stride),
    others: outerSum([range(before, size * after * stride), range(after, stride)]),
  }
}

/** One side of a product: the units of one model. */
interface Side {
  readonly data: Float32Array
  readonly units: Int32Array
  readonly rests: Int32Array
}

/** Adds the products of the units of all models. The lower half is the same as the upper one. */
async function addProducts(
  into: Float32Array,
  n: number,
  starts: readonly number[],
  sides: readonly Side[],
  team: ThreadTeam,
): Promise<void> {
  for (const [p, x] of sides.entries())
    for (const [q, y] of sides.entries())
      if (q >= p) await team.addProduct({ c: into, at: starts[p]! * n + starts[q]!, stride: n, x, y })
}

/** Shares of the tensor's elements along the part that are known by now: all, or nothing. */
export function isReady(network: ZipNetwork, assigned: Assigned, tensor: string, axis: number): boolean {
  const { shape } = network.models[0]!.tensors.get(tensor)!
  return shape.every((_, other) => other === axis || placeMap(network, assigned, 0, tensor, other, 'own') !== undefined)
}

/**
 * Cosines of weights. The weights of a unit are compared where its other axes are merged already: those of inputs that are
 * merged add up, and those of outputs are means within each model.
 */
export async function weightSimilarities(
  network: ZipNetwork,
  assigned: Assigned,
  group: string,
  weights: readonly Weights[],
  team: ThreadTeam,
): Promise<Float32Array> {
  const own = network.groups[group]!
  const n = unitsOf(own)
  const found = sharedFloats(n * n)
  const starts = own.sizes.map((_, model) => firstUnit(own, model))
  for (const [index, part] of network.specs[0]!.parts.entries()) {
    const run = runOf(network, part)
    const { tensor, axis } = part
    if (run?.group !== group || !counts(part) || !isReady(network, assigned, tensor, axis)) continue
    const sides: Side[] = []
    for (const [model, of] of weights.entries()) {
      const { shape } = of.source.tensors.get(tensor)!
      const maps = shape.map((_, other) =>
        other === axis ? undefined : placeMap(network, assigned, model, tensor, other, 'own'),
      )
      const { offset } = network.specs[model]!.parts[index]!
      sides.push(sideOf(await of.get(tensor), shape, axis, maps, { ...run, offset, size: own.sizes[model]! }))
    }
    await addProducts(found, n, starts, sides, team)
    await team.pause()
  }
  return cosines(found, n)
}

interface RunPlaces {
  readonly before: number
  readonly after: number
  readonly offset: number
  readonly size: number
}

function sideOf(
  values: Float32Array,
  shape: readonly number[],
  axis: number,
  maps: readonly (PlaceMap | undefined)[],
  run: RunPlaces,
): Side {
  const newShape = shape.map((size, other) => maps[other]?.length ?? size)
  const data = sharedFloats(newShape.reduce((product, size) => product * size, 1))
  addMapped(data, newShape, values, shape, maps)
  const strides = rowMajor(newShape)
  const { units, others } = unitPlaces(run, run.size, strides[axis]!)
  const beside = newShape.flatMap((size, other) => (other === axis ? [] : [range(size, strides[other]!)]))
  const start = run.offset * strides[axis]!
  return { data, units: units.map((unit) => unit + start), rests: outerSum([...beside, others]) }
}

/** An activations tensor [samples, places] of a group, and its run. */
export interface Measurement {
  readonly tensor: string
  readonly group: string
  readonly before: number
  readonly after: number
}

/** The measurements of a file, from its spec. */
export const measurementsOf = (network: Pick<ZipNetwork, 'groups'>, measured: Spec): Measurement[] =>
  measured.parts.flatMap((part) => {
    const run = runOf(network, part)
    return run ? [{ tensor: part.tensor, ...run }] : []
  })

/** Correlations of activations: the mean over all measurements of a group. `standard`: by model, with mean 0 and norm 1. */
export async function activationSimilarities(
  network: ZipNetwork,
  group: string,
  measurements: readonly Measurement[],
  standard: readonly Weights[],
  team: ThreadTeam,
): Promise<Float32Array> {
  const own = network.groups[group]!
  const n = unitsOf(own)
  const found = sharedFloats(n * n)
  const starts = own.sizes.map((_, model) => firstUnit(own, model))
  for (const run of measurements) {
    if (run.group !== group) continue
    const samples = standard[0]!.source.tensors.get(run.tensor)!.shape[0]!
    for (let first = 0; first < samples; first += BLOCK) {
      const rows = range(Math.min(BLOCK, samples - first), 1).map((row) => first + row)
      const read = await Promise.all(standard.map((weights) => weights.rows(run.tensor, rows)))
      const sides = read.map(({ data, starts: at }, model): Side => {
        const { units, others } = unitPlaces(run, own.sizes[model]!, 1)
        return { data, units, rests: outerSum([at, others]) }
      })
      await addProducts(found, n, starts, sides, team)
      for (const { release } of read) release()
    }
    await team.pause()
  }
  return cosines(found, n)
}

/** Products as cosines. Units of nothing, and of numbers that are not finite, are similar to none. */
function cosines(products: Float32Array, n: number): Float32Array {
  const norms = Float64Array.from({ length: n }, (_, i) => Math.sqrt(products[i * n + i]!))
  for (let i = 0; i < n; i++)
    for (let j = i; j < n; j++) {
      const cosine = products[i * n + j]! / (norms[i]! * norms[j]!)
      const value = Number.isFinite(cosine) ? cosine : 0
      products[i * n + j] = value
      products[j * n + i] = value
    }
  return products
}
