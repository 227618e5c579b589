import type { Gradient } from '../recipe/types.js'

export { layerCount, layerOf, withLayer } from '../core/layerNames.js'

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
