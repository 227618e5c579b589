import type { TensorSettings } from './types.js'

/** Weights as they really are under a method's `normalize`: divided by their sum; a sum of 0 divides by 1. */
export function normalized({ weights, parameters }: Pick<TensorSettings, 'weights' | 'parameters'>): number[] {
  if (parameters.normalize !== true) return [...weights]
  const sum = weights.reduce((total, weight) => total + weight, 0)
  return weights.map((weight) => weight / (sum === 0 ? 1 : sum))
}

/** λ and the factor of `lines`, which plans resolve to one number a tensor: what a merged task vector is multiplied by. */
export const scaleOf = ({ parameters: { lambda = 1, lines = 1 } }: Pick<TensorSettings, 'parameters'>): number =>
  Number(lambda) * Number(lines)
