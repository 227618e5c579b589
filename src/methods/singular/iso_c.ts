/**
 * iso_c: isotropic merging; every singular value of the summed task vectors becomes their mean.
 *
 *   Δ = Σ w_i δ_i = U S Vᵀ;  b + λ · mean(S) U Vᵀ,  the mean over min(rows, columns)
 *
 * b: the base's tensor; δ_i = x_i − b, as the matrix [first axis, the rest]; w_i: weights; λ: `lambda`. U Vᵀ is Δ's
 * polar factor Δ(ΔᵀΔ)^(−1/2), computed over the shorter side in float64. 1-D tensors are averaged.
 * Deviations: singular values ≤ 1e-6 of the largest count as 0, and their directions, which are arbitrary in the paper,
 * are 0.
 * Source: arXiv 2502.04959.
 */
import { ANY_BASIS } from '../shared/adapters.js'
import { matrixPasses } from '../shared/held.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import type { Method } from '../types.js'

export const isoC: Method = {
  ...ON_TASK_VECTORS,
  name: 'iso_c',
  summary: 'the summed task vectors with a flat spectrum (isotropic merging)',
  formula: 'Σ w_i δ_i = U S Vᵀ; b + λ · mean(S) U Vᵀ',
  paper: '2502.04959',
  parameters: [LAMBDA],
  adapters: ANY_BASIS,
  effective: ({ weights }) => weights,
  passes: (settings) => matrixPasses(settings, 'iso_c', {}),
}
