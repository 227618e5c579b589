import type { Value } from '../expr/values.js'
import type { Gradient } from '../language/types.js'
import { type Config, countOf } from './layerCounts.js'
import { stacksOf } from './layerNames.js'

/** The position of a tensor in the layers of its stack. */
export interface LayerPlace {
  /** Undefined outside layers. */
  readonly layer: number | undefined
  /** The number of layers of that stack. */
  readonly count: number
  /** Its block in a UNet, for values per block. Undefined outside blocks. */
  readonly block?: number | undefined
}

const OUTSIDE: LayerPlace = { layer: undefined, count: 0 }

/** Multi-token prediction layers after the last layer that the configuration counts do not belong to the stack. */
export function layerPlaces({ tensors, layers }: Value, config: Config | undefined): (name: string) => LayerPlace {
  const { list, of } = stacksOf(tensors.keys())
  const counts = new Map(
    list.map((stack) => {
      const restacked = layers?.get(stack.prefix)
      return [stack.prefix, restacked ? stack.depth - restacked.behind : countOf(config, stack, list)]
    }),
  )
  return (name) => {
    const found = of(name)
    if (!found) return OUTSIDE
    const count = counts.get(found.stack.prefix)!
    return found.layer < count ? { layer: found.layer, count } : OUTSIDE
  }
}

/**
 * The value of a gradient at a layer: the list is spread evenly over layers 0…count-1 and interpolated linearly.
 * Tensors outside layers, and models with a single layer, get the first value. Numbers per block have their own places.
 */
export function gradientAt(gradient: Gradient, { layer, count, block }: LayerPlace): number {
  if ('blocks' in gradient) return block === undefined ? gradient.rest : gradient.blocks[block]!
  const first = gradient[0]!
  if (gradient.length === 1 || layer === undefined || count <= 1) return first
  const position = (layer * (gradient.length - 1)) / (count - 1)
  const left = Math.min(Math.floor(position), gradient.length - 2)
  const share = position - left
  const from = gradient[left]!
  const to = gradient[left + 1]!
  return share === 0 ? from : share === 1 ? to : from + (to - from) * share
}
