/**
 * Repair of BatchNorm without data, after an average of aligned networks. A unit's value in the average is Σ wᵢ xᵢ, so its
 * variance is Σᵢⱼ wᵢ wⱼ ρᵢⱼ σᵢ σⱼ, not the average of the variances; the correlation ρᵢⱼ of two models' units is estimated by the
 * cosine of their filters in the layer that feeds the norm, and ρᵢᵢ = 1. Means average as they are. (The collapse of variance:
 * REPAIR, arXiv 2211.08403, which measures the statistics with data.)
 */
import { leaf, type Module, modulesOf, parentOf } from './infer/modules.js'
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
  const number = ({ name }: Module) => /\d+(?=\D*$)/.exec(leaf(name))?.[0]
  const twin = (norm: Module) =>
    layers
      .filter((layer) => parentOf(layer.name) === parentOf(norm.name) && number(layer) === number(norm))
      .sort((a, b) => b.shape.length - a.shape.length)[0]
  // Norms that stand before their convolutions show themselves where the width changes.
  const before = norms.some((norm) => {
    const layer = /^\d+$/.test(leaf(norm.name)) ? undefined : twin(norm)
    return layer !== undefined && norm.shape[0] !== layer.shape[0] && norm.shape[0] === layer.shape[1]
  })
  const feeds: NormFeed[] = []
  const left: Record<string, string> = {}
  for (const norm of norms) {
    const variance = `${norm.name}.running_var`
    if (!shapes.has(variance)) continue
    const siblings = layers.filter((layer) => parentOf(layer.name) === parentOf(norm.name))
    let layer: Module | undefined
    if (/^\d+$/.test(leaf(norm.name)))
      layer = siblings.filter((other) => modules.indexOf(other) < modules.indexOf(norm)).at(-1)
    else if (before && parentOf(norm.name) !== '')
      layer = siblings.filter((other) => Number(number(other)) === Number(number(norm)) - 1)[0]
    else layer = twin(norm) ?? (siblings.length === 1 ? siblings[0] : undefined)
    if (!layer || layer.shape[0] !== norm.shape[0])
      left[variance] = 'the layer that feeds this norm is not known from the names'
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
