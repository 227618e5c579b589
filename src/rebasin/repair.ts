/**
 * Repair of BatchNorm without data, after an average of aligned networks. A unit's value in the average is Σ wᵢ xᵢ, so its
 * variance is Σᵢⱼ wᵢ wⱼ ρᵢⱼ σᵢ σⱼ, not the average of the variances; the correlation ρᵢⱼ of two models' units is estimated by the
 * cosine of their filters in the layer that feeds the norm, and ρᵢᵢ = 1. Means average as they are. (The collapse of variance:
 * REPAIR, arXiv 2211.08403, which measures the statistics with data.)
 */
import { isTransposed } from './infer/chain.js'
import { beside, type Module, modulesOf, parentOf, sidesOf } from './infer/modules.js'
import type { Shapes } from './spec.js'

export interface NormFeed {
  /** Tensor whose values are corrected. */
  readonly variance: string
  /** Weight of the layer that feeds the norm; its axis 0 are the norm's channels. */
  readonly weight: string
}

/** Every BatchNorm with its feeding layer; and those that stay as they are, by name of the variance, with the reason. */
export function normFeeds(shapes: Shapes): { feeds: NormFeed[]; left: Record<string, string> } {
  const { modules } = modulesOf(shapes)
  const layers = modules.filter(({ kind }) => kind === 'layer')
  const norms = modules.filter(({ kind, statistics }) => kind === 'norm' && statistics)
  const named = new Map(norms.map((norm) => [norm, beside(norm, modules)]))
  const inside = norms.filter(({ name }) => parentOf(name) !== '')
  const sides = sidesOf(inside, layers)
  const first = sides.first > 0 && sides.after === 0
  const fitting = (norm: Module, of: readonly Module[]) => of.filter(({ shape }) => shape[0] === norm.shape[0])
  const claimed = new Set<Module | undefined>()
  const feed = (norm: Module): Module | undefined => {
    const told = named.get(norm)
    if (told?.by === 'name' && first && parentOf(norm.name) !== '') {
      const [layer] = told.layers
      const siblings = layers.filter(({ name }) => parentOf(name) === parentOf(norm.name))
      return layer && siblings[siblings.indexOf(layer) - 1]
    }
    const found = fitting(norm, told?.layers ?? [])
    // `bn1` of both `conv1` and `fc1`.
    return found.length < 2 ? found[0] : found.find(({ shape }) => shape.length > 2)
  }
  const feeding = new Map(norms.map((norm) => [norm, feed(norm)]))
  for (const layer of feeding.values()) claimed.add(layer)
  // Norms that go on counting where the linear layers begin: the only layer of its size without a norm.
  for (const [norm, layer] of feeding) {
    if (layer || first || named.get(norm)?.by === 'sequence') continue
    const free = fitting(norm, layers).filter(
      (other) => parentOf(other.name) === parentOf(norm.name) && !claimed.has(other),
    )
    if (free.length === 1) feeding.set(norm, free[0])
  }
  const feeds: NormFeed[] = []
  const left: Record<string, string> = {}
  for (const [norm, layer] of feeding) {
    const variance = `${norm.name}.running_var`
    if (!shapes.has(variance)) continue
    if (!layer || layer.shape[0] !== norm.shape[0])
      left[variance] = 'the layer that feeds this norm is not known from the names'
    else if (isTransposed(layer)) left[variance] = 'a transposed convolution feeds this norm'
    else feeds.push({ variance, weight: `${layer.name}.weight` })
  }
  return { feeds, left }
}

/**
 * The variance of the average of aligned models. `variances`: the models' running variances, one number a channel; `filters`: the feeding
 * layers' weights, channels on axis 0; `weights`: the average's weights, as they were used (they need not add up to 1).
 */
export function correlatedVariance(
  variances: readonly Float32Array[],
  filters: readonly Float32Array[],
  weights: readonly number[],
): Float32Array {
  const channels = variances[0]!.length
  const width = filters[0]!.length / channels
  const dot = (a: Float32Array, b: Float32Array, channel: number) => {
    let sum = 0
    for (let i = channel * width; i < (channel + 1) * width; i++) sum += a[i]! * b[i]!
    return sum
  }
  return Float32Array.from({ length: channels }, (_, channel) => {
    const norms = filters.map((filter) => Math.sqrt(dot(filter, filter, channel)))
    let variance = 0
    for (let i = 0; i < weights.length; i++) {
      for (let j = 0; j < weights.length; j++) {
        const scale = norms[i]! * norms[j]!
        const correlation = i === j ? 1 : scale > 0 ? dot(filters[i]!, filters[j]!, channel) / scale : 0
        variance +=
          weights[i]! *
          weights[j]! *
          correlation *
          Math.sqrt(Math.max(0, variances[i]![channel]!) * Math.max(0, variances[j]![channel]!))
      }
    }
    return Math.max(0, variance)
  })
}
