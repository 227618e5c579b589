/**
 * Several networks of the same structure, whose groups of units may have other sizes. Their units become the units of one
 * network: place i of a group in model m goes to place `assigned[i of all models]` of the result.
 */
import type { AxisPart, Spec } from '../spec.js'
import type { TensorSource } from '../weights.js'

/**
 * What happens with a group: `zip` merges units within and across models, `pair` merges one unit of each model, `keep`
 * merges units at the same place.
 */
export type Treatment = 'zip' | 'pair' | 'keep'

export interface ZipGroup {
  readonly treatment: Treatment
  /** Units in each model. */
  readonly sizes: readonly number[]
  /** Units in the result. */
  readonly width: number
}

export interface ZipNetwork {
  readonly models: readonly TensorSource[]
  /** By model: the same parts, of other sizes. */
  readonly specs: readonly Spec[]
  readonly groups: Readonly<Record<string, ZipGroup>>
  /** The axis along which a layer's outputs lie, where it is not the first. */
  readonly outAxes: Readonly<Record<string, number>>
  /** Tensors whose outputs stay apart: they follow one another, model after model. */
  readonly heads: ReadonlySet<string>
}

/** By group: the new unit of each unit of all models, one model after another. */
export type Assigned = Readonly<Record<string, Int32Array>>

/** Where the places of an axis go. */
export interface PlaceMap {
  readonly to: Int32Array
  /** What each place is multiplied by; absent: 1. */
  readonly scale?: Float64Array
  /** Places of the new axis. */
  readonly length: number
}

const outAxisOf = ({ outAxes }: Pick<ZipNetwork, 'outAxes'>, tensor: string): number =>
  Object.hasOwn(outAxes, tensor) ? outAxes[tensor]! : 0

/** The first unit of a model in a group, over all models. */
export const firstUnit = ({ sizes }: ZipGroup, model: number): number =>
  sizes.slice(0, model).reduce((sum, size) => sum + size, 0)

export const unitsOf = ({ sizes }: ZipGroup): number => firstUnit({ sizes } as ZipGroup, sizes.length)

/** The group of a part whose units are merged, with the places before and after it in the run. */
export function runOf(
  { groups }: Pick<ZipNetwork, 'groups'>,
  { units }: AxisPart,
): { readonly group: string; readonly before: number; readonly after: number } | undefined {
  const at = units.findIndex((unit) => typeof unit === 'string')
  const group = units[at] as string
  if (!Object.hasOwn(groups, group) || groups[group]!.treatment === 'keep') return undefined
  const product = (some: readonly (string | number)[]) => some.reduce<number>((all, unit) => all * (unit as number), 1)
  return { group, before: product(units.slice(0, at)), after: product(units.slice(at + 1)) }
}

export const partsAt = (spec: Spec, tensor: string, axis: number): AxisPart[] =>
  spec.parts.filter((part) => part.tensor === tensor && part.axis === axis).sort((x, y) => x.offset - y.offset)

/** The length of an axis of the result, from one of the models. */
export function newLength(
  network: Omit<ZipNetwork, 'models'>,
  model: number,
  tensor: string,
  axis: number,
  old: number,
): number {
  let length = old
  for (const part of partsAt(network.specs[model]!, tensor, axis)) {
    const run = runOf(network, part)
    if (run) length += run.before * run.after * network.groups[run.group]!.width - part.length
  }
  return length
}

/** How the outputs of a layer count: `merge`: each new unit is the mean of its units; `own`: of those of this model. */
export type Counting = 'merge' | 'own'

/**
 * The map of an axis of a model's tensor. Along the axis of a layer's outputs, new units are means; along that of its inputs,
 * the weights of units that are merged add up. Undefined if a group on the axis is not assigned yet.
 */
export function placeMap(
  network: ZipNetwork,
  assigned: Assigned,
  model: number,
  tensor: string,
  axis: number,
  counting: Counting = 'merge',
): PlaceMap | undefined {
  const old = network.models[model]!.tensors.get(tensor)!.shape[axis]!
  const isOut = axis === outAxisOf(network, tensor)
  const count = network.models.length
  if (isOut && network.heads.has(tensor)) return headMap(network, model, tensor, axis)
  const to = new Int32Array(old)
  const scale = new Float64Array(old).fill(isOut && counting === 'merge' ? 1 / count : 1)
  let [from, next] = [0, 0]
  const straight = (end: number) => {
    while (from < end) to[from++] = next++
  }
  for (const part of partsAt(network.specs[model]!, tensor, axis)) {
    straight(part.offset)
    const run = runOf(network, part)
    if (!run) {
      straight(part.offset + part.length)
      continue
    }
    const { group, before, after } = run
    const { sizes, width } = network.groups[group]!
    const all = assigned[group]
    if (!all) return undefined
    const first = firstUnit(network.groups[group]!, model)
    const counts = countsOf(counting === 'merge' ? all : all.subarray(first, first + sizes[model]!), width)
    for (let b = 0; b < before; b++)
      for (let i = 0; i < sizes[model]!; i++)
        for (let a = 0; a < after; a++) {
          const unit = all[first + i]!
          to[from] = next + (b * width + unit) * after + a
          if (isOut) scale[from] = 1 / counts[unit]!
          from++
        }
    next += before * width * after
  }
  straight(old)
  return scale.every((factor) => factor === 1) ? { to, length: next } : { to, scale, length: next }
}

/** Outputs of all models, one model after another. */
function headMap({ models }: ZipNetwork, model: number, tensor: string, axis: number): PlaceMap {
  const lengths = models.map(({ tensors }) => tensors.get(tensor)!.shape[axis]!)
  const sum = (some: readonly number[]) => some.reduce((total, length) => total + length, 0)
  const first = sum(lengths.slice(0, model))
  return { to: Int32Array.from({ length: lengths[model]! }, (_, i) => first + i), length: sum(lengths) }
}

export function countsOf(assigned: Int32Array, width: number): Int32Array {
  const counts = new Int32Array(width)
  for (const unit of assigned) counts[unit] = counts[unit]! + 1
  return counts
}
