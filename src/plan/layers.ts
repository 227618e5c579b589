import type { Gradient } from '../recipe/types.js'

/** A tensor's layer: the first whole-number part of its name (`model.layers.12.mlp…` → 12); undefined outside layers. */
export function layerOf(name: string): number | undefined {
  const part = name.split('.').find((part) => /^\d+$/.test(part))
  return part === undefined ? undefined : Number(part)
}

/** The layers of a model are 0…n-1 with n one more than the highest layer in its names; 0 where no name has one. */
export function layerCount(names: Iterable<string>): number {
  let count = 0
  for (const name of names) count = Math.max(count, (layerOf(name) ?? -1) + 1)
  return count
}

/**
 * The value of a gradient at a layer: the list is spread evenly over layers 0…count-1 and interpolated linearly.
 * Tensors outside any layer, and a model of one layer, take the first value.
 */
export function gradientAt(gradient: Gradient, layer: number | undefined, count: number): number {
  const first = gradient[0]!
  if (gradient.length === 1 || layer === undefined || count <= 1) return first
  const position = (layer * (gradient.length - 1)) / (count - 1)
  const left = Math.min(Math.floor(position), gradient.length - 2)
  const share = position - left
  const from = gradient[left]!
  const to = gradient[left + 1]!
  return share === 0 ? from : share === 1 ? to : from + (to - from) * share
}
