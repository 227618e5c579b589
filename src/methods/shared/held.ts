/** Passes of methods that hold whole matrices, and the plain average for tensors that are not matrices. */
import type { HeldKernel, HeldWork } from '../../kernels/held/types.js'
import type { Passes, TensorSettings } from '../types.js'
import { ranged, scaleOf, sumOf } from './weights.js'

/**
 * b + λ·(the kernel's result for the δ_i as matrices [first axis, the rest]). For tensors with fewer than two
 * dimensions: b + λ Σ w_i δ_i / Σ w_i, where a sum of 0 divides by 1.
 */
export function matrixPasses(
  settings: TensorSettings,
  kernel: HeldKernel,
  options: HeldWork['options'],
  { averaged = false }: { readonly averaged?: boolean } = {},
): Passes {
  const { shape, weights } = settings
  const scale = scaleOf(settings)
  const ratios = ranged(weights)
  const sum = sumOf(weights) || 1
  if (shape.length < 2)
    return { reduces: [], map: { kernel: 'task', coefficients: () => ratios.map((weight) => (scale * weight) / sum) } }
  const [rows = 1, ...rest] = shape
  const columns = rest.reduce((product, size) => product * size, 1)
  return {
    reduces: [],
    held: {
      kernel,
      rows,
      columns,
      weights: averaged ? ratios.map((weight) => weight / sum) : weights,
      scale,
      options,
    },
    map: { kernel: 'linear', coefficients: () => [1, 1] },
  }
}
