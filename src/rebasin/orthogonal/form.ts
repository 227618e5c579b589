/** Orthogonal maps, and what names and shapes of a network say of their sizes. */
import type { Norms } from './folded.js'
import type { HeadMap } from './heads.js'
import { type Described, KEYS, type Layout } from './layout.js'
import { layoutOf } from './readLayout.js'

export interface LayerMaps {
  /** Unit i of the feed-forward takes the model's unit feedForward[i]. */
  readonly feedForward: Int32Array
  /** 1 or -1 for units whose up and down weights change sign. Only with activations. */
  readonly signs?: Int32Array
  /** By key/value head of the aligned model. Empty where heads stay as they are. */
  readonly heads: readonly HeadMap[]
}

export interface OrthogonalMaps {
  readonly layout: Layout
  /** hidden × hidden, row-major: a stream vector x of the model is x · rotation in the aligned one. */
  readonly rotation: Float64Array
  readonly layers: readonly LayerMaps[]
  /** Weights and biases of norms of both models, and factors of the stream, by tensor: the aligned model's are `onto`'s. */
  readonly norms: Norms
}

/** Why a network does not allow orthogonal maps; undefined where it does. */
export function orthogonalObstacle(model: Described): string | undefined {
  const layout = layoutOf(model)
  return typeof layout === 'string' ? layout : undefined
}

/** The layout of a network without an obstacle. */
export function orthogonalForm(model: Described): Layout {
  const layout = layoutOf(model)
  if (typeof layout === 'string') throw new Error(`internal: ${layout}`)
  return layout
}

/** Sizes that decide what a matching takes; of matrices by layer the side that is not the stream's. */
export function orthogonalSizes(model: Described): {
  readonly hidden: number
  readonly units: number
  readonly matrices: readonly { readonly side: number }[]
  /** Sides of the similarities of heads, of one layer. */
  readonly squares: readonly number[]
  /** Whether tensors are read in parts where that is possible. */
  readonly inParts: boolean
} {
  const { hidden, units, layers, shape, kind, basis } = orthogonalForm(model)
  const matrices = layers.flatMap((layer) => KEYS.flatMap((key) => (layer[key] ? [{ side: layer[key].units }] : [])))
  const heads = shape ? [shape.kv * shape.q * shape.width, shape.kv * shape.width] : []
  return { hidden, units, matrices, squares: [...heads, ...heads], inParts: kind === 'rms' && basis === 'rotated' }
}
