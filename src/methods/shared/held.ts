/** Passes of methods that hold whole matrices, and the plain average for tensors that are not matrices. */
import type { HeldKernel, HeldWork } from '../../kernels/held/types.js'
import type { Passes, TensorSettings } from '../types.js'
import { ranged, scaleOf, sumOf } from './weights.js'

/** The sides of a tensor as the matrix [first axis, the rest]. */
export function sidesOf([rows = 1, ...rest]: readonly number[]): { rows: number; columns: number; short: number } {
  const columns = rest.reduce((product, size) => product * size, 1)
  return { rows, columns, short: Math.min(rows, columns) }
}

/** b + λ Σ w_i δ_i / Σ w_i, where a sum of 0 divides by 1. */
export function averagedTask(settings: TensorSettings): Passes {
  const { weights } = settings
  const scale = scaleOf(settings)
  const ratios = ranged(weights)
  const sum = sumOf(weights) || 1
  return { reduces: [], map: { kernel: 'task', coefficients: () => ratios.map((weight) => (scale * weight) / sum) } }
}

/**
 * b + λ·(the kernel's result for the δ_i as matrices [first axis, the rest]). For tensors with fewer than two
 * dimensions: the average.
 */
export function matrixPasses(
  settings: TensorSettings,
  kernel: HeldKernel,
  options: HeldWork['options'],
  { averaged = false }: { readonly averaged?: boolean } = {},
): Passes {
  const { shape, weights } = settings
  if (shape.length < 2) return averagedTask(settings)
  const scale = scaleOf(settings)
  const ratios = ranged(weights)
  const sum = sumOf(weights) || 1
  const { rows, columns } = sidesOf(shape)
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
