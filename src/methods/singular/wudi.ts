/**
 * wudi and actmat: the change that fits the task vectors best, each on the inputs that its own rows stand for.
 *
 *   Δ = (Σ δ_i G_i)(Σ G_i)⁺,  wudi: G_i = δ_iᵀδ_i / ‖δ_i‖²,  actmat: G_i = δ_iᵀδ_i;   b + λ · Δ
 *
 * b: the base's tensor; δ_i = x_i − b, as the matrix [first axis, the rest]; λ: `lambda`; ⁺: the inverse over eigenvalues
 * above 1e-12 of the largest. All in float64. A model that did not change the tensor counts for nothing. Tensors with fewer
 * than two axes: b + λ · mean δ_i. Not scale-free: where tasks overlap, λ = 1 goes as far as the sum of the task vectors.
 * wudi minimises Σ ‖(Δ − δ_i)δ_iᵀ‖² / ‖δ_i‖². Deviations: its authors take 300 steps of Adam from Σ δ_i, which depend on
 * the unit of the weights; this is the minimum with the least norm. They change linear layers only. actmat's authors cut off
 * eigenvalues at float32's resolution.
 * Sources: arXiv 2503.08099 (WUDI-Merging), arXiv 2604.01329 (ACTMat).
 */
import { ANY_BASIS } from '../shared/adapters.js'
import { matrixPasses } from '../shared/held.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import type { Method } from '../types.js'

const GRAMS = {
  ...ON_TASK_VECTORS,
  weights: false,
  parameters: [LAMBDA],
  adapters: ANY_BASIS,
  effective: ({ weights }) => weights.map(() => null),
} as const satisfies Partial<Method>

export const wudi: Method = {
  ...GRAMS,
  name: 'wudi',
  summary: 'the change with the least interference: the best fit of all task vectors, each on its own row space',
  formula: 'b + λ · (Σ δ_i G_i)(Σ G_i)⁺, G_i = δ_iᵀδ_i / ‖δ_i‖²',
  paper: '2503.08099',
  passes: (settings) => matrixPasses(settings, 'grams', { normalized: 1 }),
}

export const actmat: Method = {
  ...GRAMS,
  name: 'actmat',
  summary: 'regmean with Gram matrices that are estimated from the task vectors',
  formula: 'b + λ · (Σ δ_i G_i)(Σ G_i)⁺, G_i = δ_iᵀδ_i',
  paper: '2604.01329',
  passes: (settings) => matrixPasses(settings, 'grams', { normalized: 0 }),
}
